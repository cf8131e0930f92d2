"""The image files below class folders, as people have them: hidden entries, links and loops, files that are no images.

Hidden entries, whose names start with a dot, are left out. A file counts once in its class, however many links lead to
it, and a link to a file in another class's folder does not count.
"""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # ImageFolder's, in any case
SYSTEM = ("thumbs.db", "desktop.ini")  # what Windows leaves in folders of images
TOLD = 6  # suffixes of files that are left out

Example = tuple[str, int]  # file, class index; a plain string, since making 60 000 paths takes half a second


class Image(NamedTuple):
    folder: str
    name: str
    real: str  # its path without links
    direct: bool  # whether no link leads to it, its class folder included

    @property
    def path(self) -> str:
        return f"{self.folder}{os.sep}{self.name}"


class Walk(NamedTuple):
    """What lies below one class folder: its images, the other files by suffix, and how many links lead to what is
    counted already."""

    images: list[Image]
    others: Counter
    repeated: int


class Part(NamedTuple):
    """The examples of a part of a data set, such as train/, and what there is to say about its files."""

    folder: Path
    examples: list[Example]
    files: set[str]  # real paths
    others: Counter  # suffix -> files that are no images
    repeated: int  # links that do not count
    shared: list[str]  # real paths of files that are in several classes, by links from outside


def class_names(folder: Path) -> tuple[str, ...]:
    """The folders in `folder`, in their order."""
    return tuple(sorted(entry.name for entry in entries(str(folder)) if is_folder(entry)))


def stray_images(folder: Path) -> int:
    """How many images lie beside the class folders, in none of them."""
    return sum(entry.name.lower().endswith(SUFFIXES) and not is_folder(entry) for entry in entries(str(folder)))


def part_of(folder: Path, names: Iterable[str], classes: tuple[str, ...], others: Iterable[Path] = ()) -> Part:
    """The images of the class folders `names` in `folder`; InputError for a class without any.

    Links to what lies in the `others`, which are parts of the data set in their own right, do not count.
    """
    elsewhere = tuple(f"{os.path.realpath(other)}{os.sep}" for other in others)
    index = {name: number for number, name in enumerate(classes)}
    walks = {name: walk(f"{folder}{os.sep}{name}") for name in names}
    owners = {image.real: name for name, walked in walks.items() for image in walked.images if image.direct}
    part = Part(folder, [], set(), Counter(), sum(walked.repeated for walked in walks.values()), [])
    links = 0
    for name, walked in walks.items():
        own = [
            image
            for image in walked.images
            if owners.get(image.real, name) == name and (image.direct or not image.real.startswith(elsewhere))
        ]
        if not own:
            raise InputError(
                f"the class folder {shown(folder / name)} {why_empty(walked)}; remove it or put images there"
            )
        part.examples.extend((image.path, index[name]) for image in own)
        part.shared.extend(image.real for image in own if image.real in part.files)
        part.files.update(image.real for image in own)
        part.others.update(walked.others)
        links += len(walked.images) - len(own)
    return part._replace(repeated=part.repeated + links)


def why_empty(walked: Walk) -> str:
    if walked.images:
        return "holds only links to images of other classes"
    only = f", only {counted(walked.others)}" if walked.others else ""
    return f"holds no image ({', '.join(SUFFIXES)}){only}"


def counted(others: Counter) -> str:
    """'.gif (3), .jfif (1)', the most frequent first."""
    kinds = [f"{shown(suffix) or 'without a suffix'} ({number})" for suffix, number in others.most_common(TOLD)]
    return ", ".join([*kinds, *(["…"] if len(others) > TOLD else [])])


def shown(path: Path | str) -> str:
    """A path for people: on one line, in characters that can be printed, whatever bytes its name is made of."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


# --- walking ----------------------------------------------------------------------------------------------------------


def walk(top: str) -> Walk:
    """All that lies below a class folder, each folder and file once: folders by path, in each the files by name.

    Of several ways to a folder or file the one without links counts, else the first.
    """
    plain, linked = [(top, os.path.realpath(top), not is_link(Path(top)))], []
    images, others, seen, repeated = [], Counter(), set(), 0
    while plain or linked:
        path, real, direct = plain.pop() if plain else linked.pop(linked.index(min(linked)))
        if real in seen:
            repeated += 1
            continue
        seen.add(real)
        for entry in entries(path):
            link = is_link(entry)
            where = os.path.realpath(entry.path) if link else f"{real}{os.sep}{entry.name}"
            if is_folder(entry):
                (linked if link else plain).append((entry.path, where, direct and not link))
            elif entry.name.lower().endswith(SUFFIXES):
                images.append(Image(path, entry.name, where, direct and not link))
            else:
                others[os.path.splitext(entry.name)[1].lower()] += 1  # noqa: PTH122
    kept = each_once(images)
    return Walk(kept, others, repeated + len(images) - len(kept))


def each_once(images: list[Image]) -> list[Image]:
    """Of the images with one real path one, in order; all of them where each has its own."""
    if len({image.real for image in images}) == len(images):
        return sorted(images)
    ways = defaultdict(list)
    for image in images:
        ways[image.real].append(image)
    return sorted(min(same, key=lambda image: (not image.direct, image)) for same in ways.values())


def entries(folder: str) -> list[os.DirEntry]:
    """What is in a folder and not hidden; InputError where it may not be read."""
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM]
    except OSError as error:
        raise InputError(f"the folder {shown(folder)} cannot be read ({error.strerror})") from error


def is_link(entry: os.DirEntry | Path) -> bool:
    """A symbolic link or a junction, which Windows has."""
    return entry.is_symlink() or getattr(entry, "is_junction", bool)()


def is_folder(entry: os.DirEntry) -> bool:
    """A folder or a link to one; InputError for a link to nothing, whose images would be missed without a word."""
    try:
        return stat.S_ISDIR(entry.stat().st_mode) if is_link(entry) else entry.is_dir()
    except OSError as error:
        raise InputError(
            f"{shown(entry.path)} cannot be read ({error.strerror}): it is a link; mend or remove it"
        ) from error
