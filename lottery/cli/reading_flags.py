"""The flags that say where images are while a run trains, and how training sees them. No torch is imported."""

from argparse import Namespace

from lottery.cli.types import count_from_0
from lottery.readers.image_files import AUGMENTATIONS, CROP, RESIZED_CROP
from lottery.readers.registry import FILES, IMAGE_SIZES, IN_FILES, MEMORY
from utils import InputError


def add_reading(group) -> None:
    """`check_reading` fills in what depends on the data set."""
    group.add_argument(
        "--data_in",
        choices=(MEMORY, FILES),
        help="where the images are while a run trains: memory: decoded once and kept on the device; files: read and "
        f"decoded for every batch, for image folders that do not fit ({', '.join(IN_FILES)}). If not given: files for "
        "imagenet, memory for all other data sets",
    )
    group.add_argument(
        "--augmentation",
        choices=AUGMENTATIONS,
        help="how training images are varied: crop: shifted by a few pixels; resized_crop: a random box of 8 to 100 %% "
        "of the image, resized, as usual for ImageNet, for which evaluation resizes the shorter side to 256/224 of the "
        "size and crops the centre; it needs --data_in files. Both mirror images where that keeps the label. If not "
        "given: resized_crop with --data_in files, else crop",
    )
    group.add_argument(
        "--workers",
        type=count_from_0,
        metavar="N",
        help="with --data_in files: processes that read images, or 0 for none beside the run's own; one for each core, "
        "up to 16, if not given, shared out among the ranks of a machine. Results do not depend on it",
    )


def check_reading(args: Namespace) -> None:
    """InputError for what does not go together; fills in --data_in, --augmentation, and --image_size of ImageNet."""
    if args.dataset == "imagenet":
        args.image_size = args.image_size or IMAGE_SIZES["imagenet"]
    if "data_in" not in args:
        return
    args.data_in = args.data_in or (FILES if args.dataset == "imagenet" else MEMORY)
    if args.data_in == FILES:
        _check_files(args)
    elif args.workers is not None:
        raise InputError(
            f"--workers {args.workers} would read files, but --data_in {MEMORY} keeps all images in memory"
        )
    elif args.augmentation == RESIZED_CROP:
        raise InputError(
            f"--augmentation {RESIZED_CROP} needs --data_in {FILES}, where the whole images are; got --data_in {MEMORY}"
        )
    if args.augmentation and getattr(args, "no_augmentation", False):
        raise InputError(f"--augmentation {args.augmentation} and --no_augmentation contradict each other: give one")
    args.augmentation = args.augmentation or (RESIZED_CROP if args.data_in == FILES else CROP)


def _check_files(args: Namespace) -> None:
    if args.dataset not in IN_FILES:
        raise InputError(
            f"--data_in {FILES} is for image folders ({', '.join(IN_FILES)}), got --dataset {args.dataset}: "
            "leave it out, its images are kept in memory"
        )
    if args.dataset not in IMAGE_SIZES and args.image_size is None:
        raise InputError(
            f"--data_in {FILES} needs --image_size, the pixels of a crop: images in files may differ in size"
        )
