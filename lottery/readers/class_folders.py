"""Finding the image files in class folders, which may contain hidden entries, links, loops and other files.

Entries whose names start with a dot are skipped. A file counts once in its class however many links lead to it, and a
link to a file in another class's folder does not count.
"""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # ImageFolder's, in any case
SYSTEM = ("thumbs.db", "desktop.ini")  # files that Windows leaves in folders of images
SHOWN_SUFFIXES = 6  # suffixes of skipped files that a note lists

Example = tuple[str, int]  # file, class index; a plain string, since creating 60 000 paths takes half a second


class Image(NamedTuple):
    folder: str
    name: str
    real: str  # its path with links resolved
    direct: bool  # whether its path contains no link, including its class folder

    @property
    def path(self) -> str:
        return f"{self.folder}{os.sep}{self.name}"


class ClassFolder(NamedTuple):
    """The contents of one class folder: its images, the other files by suffix, and the number of links to files and
    folders that count already."""

    images: list[Image]
    others: Counter
    repeated: int


class DataPart(NamedTuple):
    """The examples of a part of a data set, such as train/, and what its notes need."""

    folder: Path
    examples: list[Example]
    files: set[str]  # real paths
    others: Counter  # suffix -> files that are no images
    repeated: int  # links that do not count
    shared: list[str]  # real paths of files that are in several classes, by links from outside


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder`, sorted."""
    return tuple(sorted(entry.name for entry in visible_entries(str(folder)) if is_folder(entry)))


def count_stray_images(folder: Path) -> int:
    """The number of images directly in `folder`, beside the class folders."""
    return sum(entry.name.lower().endswith(SUFFIXES) and not is_folder(entry) for entry in visible_entries(str(folder)))


def list_part(folder: Path, names: Iterable[str], classes: tuple[str, ...], others: Iterable[Path] = ()) -> DataPart:
    """The images of the class folders `names` in `folder`; InputError for a class without any.

    Links into `others`, the other parts of the data set, do not count.
    """
    elsewhere = tuple(f"{os.path.realpath(other)}{os.sep}" for other in others)
    index = {name: number for number, name in enumerate(classes)}
    walks = {name: walk_class_folder(f"{folder}{os.sep}{name}") for name in names}
    owners = {image.real: name for name, walked in walks.items() for image in walked.images if image.direct}
    part = DataPart(folder, [], set(), Counter(), sum(walked.repeated for walked in walks.values()), [])
    links = 0
    for name, walked in walks.items():
        own = [
            image
            for image in walked.images
            if owners.get(image.real, name) == name and (image.direct or not image.real.startswith(elsewhere))
        ]
        if not own:
            raise InputError(
                f"the class folder {shown(folder / name)} {describe_empty(walked)}; remove it or put images there"
            )
        part.examples.extend((image.path, index[name]) for image in own)
        part.shared.extend(image.real for image in own if image.real in part.files)
        part.files.update(image.real for image in own)
        part.others.update(walked.others)
        links += len(walked.images) - len(own)
    return part._replace(repeated=part.repeated + links)


def describe_empty(walked: ClassFolder) -> str:
    if walked.images:
        return "holds only links to images of other classes"
    only = f", only {suffix_counts(walked.others)}" if walked.others else ""
    return f"holds no image ({', '.join(SUFFIXES)}){only}"


def suffix_counts(others: Counter) -> str:
    """'.gif (3), .jfif (1)', the most frequent first."""
    common = others.most_common(SHOWN_SUFFIXES)
    kinds = [f"{shown(suffix) or 'without a suffix'} ({number})" for suffix, number in common]
    return ", ".join([*kinds, *(["…"] if len(others) > SHOWN_SUFFIXES else [])])


def shown(path: Path | str) -> str:
    """A path for messages: on one line, with unprintable characters and bytes escaped."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


# --- walking ----------------------------------------------------------------------------------------------------------


def walk_class_folder(top: str) -> ClassFolder:
    """All files below a class folder, each once: folders sorted by path, files within a folder by name.

    If several paths lead to a folder or file, the one without links counts, otherwise the first.
    """
    plain, linked = [(top, os.path.realpath(top), not is_link(Path(top)))], list[tuple[str, str, bool]]()
    images, others, seen, repeated = [], Counter[str](), set(), 0
    while plain or linked:
        path, real, direct = plain.pop() if plain else linked.pop(linked.index(min(linked)))
        if real in seen:
            repeated += 1
            continue
        seen.add(real)
        for entry in visible_entries(path):
            link = is_link(entry)
            where = os.path.realpath(entry.path) if link else f"{real}{os.sep}{entry.name}"
            if is_folder(entry):
                (linked if link else plain).append((entry.path, where, direct and not link))
            elif entry.name.lower().endswith(SUFFIXES):
                images.append(Image(path, entry.name, where, direct and not link))
            else:
                others[os.path.splitext(entry.name)[1].lower()] += 1  # noqa: PTH122
    kept = without_duplicates(images)
    return ClassFolder(kept, others, repeated + len(images) - len(kept))


def without_duplicates(images: list[Image]) -> list[Image]:
    """The images, sorted, with only one of those that share a real path."""
    if len({image.real for image in images}) == len(images):
        return sorted(images)
    ways = defaultdict(list)
    for image in images:
        ways[image.real].append(image)
    return sorted(min(same, key=lambda image: (not image.direct, image)) for same in ways.values())


def visible_entries(folder: str) -> list[os.DirEntry]:
    """The entries of a folder that are not hidden; InputError if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM]
    except OSError as error:
        raise InputError(f"the folder {shown(folder)} cannot be read ({error.strerror})") from error


def is_link(entry: os.DirEntry | Path) -> bool:
    """Whether it is a symbolic link or, on Windows, a junction."""
    return entry.is_symlink() or getattr(entry, "is_junction", bool)()


def is_folder(entry: os.DirEntry) -> bool:
    """Whether it is a folder or a link to one; InputError for a broken link, whose images would silently be missed."""
    try:
        return stat.S_ISDIR(entry.stat().st_mode) if is_link(entry) else entry.is_dir()
    except OSError as error:
        raise InputError(
            f"{shown(entry.path)} cannot be read ({error.strerror}): it is a link; mend or remove it"
        ) from error
