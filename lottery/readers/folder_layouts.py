"""The layouts of data sets of image files: train/, test/ and val/ with class folders, and Tiny-ImageNet's.

The order of examples is that of torchvision's ImageFolder: class folders by name, within them folders by path and files
by name. class_folders.py decides which files count.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from lottery.readers.class_folders import (
    DataPart,
    Example,
    class_names,
    count_stray_images,
    list_part,
    shown,
    suffix_counts,
)
from utils import InputError


class Listing(NamedTuple):
    """The files of a data set; an example's index is its position in `train` + `validation`, or in `test`.

    `validation` is empty if the layout does not determine it.
    """

    classes: tuple[str, ...]
    train: list[Example]
    test: list[Example]
    validation: Sequence[Example] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """All of them: training, validation, test."""
        return [file for file, _ in (*self.train, *self.validation, *self.test)]


def list_image_folder(root: Path) -> Listing:
    """<root>/train/<class>/**, <root>/test/<class>/** and <root>/val/<class>/**.

    val/ is the validation set if there is a test/, otherwise the test set. train/ defines the classes; the others may
    lack some of them but have no others.
    """
    train, others = root / "train", [root / name for name in ("test", "val") if (root / name).is_dir()]
    if not train.is_dir():
        raise InputError(
            f"{root} has no folder train/; an image folder holds train/<class>/ and test/<class>/ (or val/<class>/)"
        )
    if not others:
        raise InputError(
            f"{root} has neither a folder test/ nor val/; put the test images into {root / 'test'}/<class>/"
        )
    classes = class_names(train)
    if len(classes) < 2:
        raise InputError(f"{train} must hold one folder for each of at least two classes, got {list(classes)}")
    for other in others:
        check_classes(other, train, classes)
    parts = [
        list_part(train, classes, classes, others),
        *(list_part(other, class_names(other), classes) for other in others),
    ]
    validation = parts[2].examples if len(parts) > 2 else ()
    notes = (*layout_notes(parts), *left_out_notes(root, parts), *link_notes(parts))
    return Listing(classes, parts[0].examples, parts[1].examples, validation, notes)


def check_classes(folder: Path, train: Path, classes: tuple[str, ...]) -> None:
    """InputError if a folder of test or validation images has classes that train/ lacks, or none at all."""
    names = class_names(folder)
    for name in names:
        if name in classes:
            continue
        twins = [known for known in classes if normalize("NFC", known) == normalize("NFC", name)]
        why = " in the same Unicode form: rename one of the two" if twins else ""
        raise InputError(f"{shown(folder / name)} is not a class: {train} has no folder {shown(name)!r}{why}")
    if not names:
        raise InputError(f"{folder} holds no class folder; put the images into {folder}/<class>/, or remove it")


# --- notes ------------------------------------------------------------------------------------------------------------


def layout_notes(parts: Sequence[DataPart]) -> list[str]:
    """That val/ is used as the test set, if so."""
    if parts[1].folder.name == "test":
        return []
    return [f"{parts[1].folder} is the test set, since there is no test/; it does not validate"]


def left_out_notes(root: Path, parts: Sequence[DataPart]) -> list[str]:
    """The numbers of files that are not images, and of images outside class folders."""
    others = sum((part.others for part in parts), Counter())
    notes = []
    if others:
        notes.append(
            f"left out {others.total()} files in {root} that are not images of a known kind: {suffix_counts(others)}"
        )
    for part in parts:
        if strays := count_stray_images(part.folder):
            notes.append(f"left out {strays} images that lie directly in {part.folder}, in no class folder")
    return notes


def link_notes(parts: Sequence[DataPart]) -> list[str]:
    """The numbers of skipped links, and of files that are examples of several classes or parts through links."""
    notes = []
    for part in parts:
        if part.repeated:
            notes.append(f"left out links in {part.folder} to files and folders that count already: {part.repeated}")
        if part.shared:
            first = shown(part.shared[0])
            notes.append(
                f"{len(part.shared)} examples of {part.folder} are files of another class, too: {first} is one"
            )
    for earlier, other in combinations(parts, 2):
        whose = "training images" if earlier is parts[0] else f"images of {earlier.folder}"
        if known := len(other.files & earlier.files):
            notes.append(f"{known} images of {other.folder} are the very files of {whose}")
    return notes


# --- ImageNet ---------------------------------------------------------------------------------------------------------

IMAGENET_LAYOUT = "train/ and val/, each with a folder for each WordNet ID, such as train/n01440764/*.JPEG"


def list_imagenet(root: Path) -> Listing:
    """ImageNet (ILSVRC 2012) as torchvision lays it out; val/, the 50 000 images of the challenge's validation, is the
    test set. InputError for another layout; other numbers of classes, as in ImageNet-100, are noted."""
    train, val = root / "train", root / "val"
    for folder in (train, val):
        if not folder.is_dir():
            raise InputError(f"{folder} is missing; --dataset imagenet reads {IMAGENET_LAYOUT}")
    classes = class_names(train)
    if len(classes) < 2:
        raise InputError(f"{train} has {len(classes)} class folders; --dataset imagenet reads {IMAGENET_LAYOUT}")
    if (flat := count_stray_images(val)) and not class_names(val):
        raise InputError(
            f"{val} holds {flat} images in no class folder: move each into the folder of its WordNet ID, as "
            'torchvision.datasets.ImageNet(DATA, split="val") does from the official archives'
        )
    check_classes(val, train, classes)
    parts = [list_part(train, classes, classes, [val]), list_part(val, class_names(val), classes)]
    notes = [f"{len(classes)} classes, of the 1000 that ImageNet has"] if len(classes) != 1000 else []
    notes += [*left_out_notes(root, parts), *link_notes(parts)]
    return Listing(classes, parts[0].examples, parts[1].examples, notes=tuple(notes))


# --- Tiny-ImageNet ----------------------------------------------------------------------------------------------------


def list_tiny_imagenet(root: Path) -> Listing:
    """Tiny-ImageNet as unpacked; `root` is tiny-imagenet-200 or the folder that contains it. val/ is the test set.

    val/ may be in its original form (all images in val/images, classes in val_annotations.txt) or sorted into class
    folders; both give the same order. Raises InputError if the files do not match these lists.
    """
    if not (root / "train").is_dir() and (root / "tiny-imagenet-200").is_dir():
        root = root / "tiny-imagenet-200"
    train, val = root / "train", root / "val"
    for folder in (train, val):
        if not folder.is_dir():
            raise InputError(f"{folder} is missing; unpack tiny-imagenet-200.zip and give --data the folder it makes")
    classes = class_names(train)
    check_wnids(root / "wnids.txt", classes)
    part = list_part(train, classes, classes)
    return Listing(classes, part.examples, list_val(val, classes), notes=tuple(link_notes([part])))


def check_wnids(file: Path, classes: tuple[str, ...]) -> None:
    """InputError if the class folders differ from wnids.txt, if present: the archive was not fully unpacked."""
    listed = set(read_text(file).split()) if file.exists() else set(classes)
    if wrong := sorted(listed.symmetric_difference(classes)):
        raise InputError(
            f"{file} and the folders in {file.parent / 'train'} differ, e.g. in {wrong[0]}; unpack the archive again"
        )
    if len(classes) < 2:
        raise InputError(f"{file.parent / 'train'} must hold one folder for each class, got {list(classes)}")


def list_val(val: Path, classes: tuple[str, ...]) -> list[Example]:
    annotations = val / "val_annotations.txt"
    class_by_file = read_annotations(annotations) if annotations.exists() else None  # file name -> wnid
    if sorted_into := [name for name in class_names(val) if name in classes]:
        examples = list_part(val, sorted_into, classes).examples
        if class_by_file is not None and len(examples) != len(class_by_file):
            raise InputError(
                f"the class folders in {val} hold {len(examples)} images, {annotations.name} names "
                f"{len(class_by_file)}; unpack the archive again"
            )
        return examples
    if not class_by_file:
        raise InputError(
            f"{val} holds neither class folders nor a val_annotations.txt that names images; unpack the archive again"
        )
    index = {name: number for number, name in enumerate(classes)}
    if unknown := sorted(set(class_by_file.values()) - set(classes)):
        raise InputError(f"{annotations} names the class {unknown[0]}, which has no folder in {val.parent / 'train'}")
    by_class = sorted((wnid, name) for name, wnid in class_by_file.items())
    return [(str(val / "images" / name), index[wnid]) for wnid, name in by_class]


def read_text(file: Path) -> str:
    """The text of a file that comes with the archive; InputError if it cannot be read, or is no UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is no text in UTF-8; unpack the archive again") from None


def read_annotations(file: Path) -> dict[str, str]:
    """File name -> class: the first two tab-separated columns; the others are bounding boxes."""
    rows = [line.split("\t") for line in read_text(file).splitlines() if line.strip()]
    if short := [row for row in rows if len(row) < 2]:
        raise InputError(f"{file} has the line {short[0]}; each line is to hold a file name, a tab and a class")
    return {row[0]: row[1] for row in rows}
