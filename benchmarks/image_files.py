"""How many images a second are read from files, beside torchvision's pipeline, and how much memory the process takes.

    OMP_NUM_THREADS=1 python -m benchmarks.image_files --images 2000 --workers 2 --output image_files.json

Photographs are made up: JPEG files of many sizes, smooth with some noise. Each pipeline reads an epoch of random crops
of 224 pixels in batches, with nothing to wait for in between: ours as training gets them, uint8 on the CPU; and
torchvision's ImageFolder with RandomResizedCrop, RandomHorizontalFlip and ToTensor in torch's DataLoader. They take
turns, and nothing else should run on the machine.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lottery.cli.parser import Parser
from lottery.cli.script import run_script
from lottery.cli.types import count_from_0, path, positive_int

CLASSES, TEST = 4, 8  # of the made-up data set


def parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--images", type=positive_int, default=2000, help="files")
    add("--smallest", type=positive_int, default=250, help="shortest side of a file, in pixels")
    add("--largest", type=positive_int, default=600, help="longest side of a file, in pixels")
    add("--image_size", type=positive_int, default=224, help="pixels of a crop")
    add("--batch_size", type=positive_int, default=128, help="images of a batch")
    add("--workers", type=count_from_0, default=2, help="processes that read")
    add("--repeats", type=positive_int, default=3, help="timed epochs of each pipeline")
    add("--output", type=path, metavar="FILE.json", help="where to write every number")
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)
    from benchmarks import report

    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), args)
        found = measure(Path(folder), args)
    if args.output:
        report.write_json(args.output, found)
    for name, rates in found["images per second"].items():
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        print(f"{name}: {statistics.median(rates):.0f} images a second, median of {each}")


def write_photos(root: Path, args) -> None:
    """The made-up data set: `images` files that train, and a few that test."""
    from PIL import Image

    for number in range(args.images + TEST):
        random = np.random.default_rng(number)
        width, height = random.integers(args.smallest, args.largest + 1, 2).tolist()
        smooth = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((width, height), 3)
        noisy = np.asarray(smooth) + random.normal(0, 8, (height, width, 3))
        file = root / ("train" if number < args.images else "val") / f"n{number % CLASSES}" / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=90)


def measure(root: Path, args) -> dict:
    """Images a second of each repeat of both pipelines."""
    import torch

    from benchmarks import report

    pipelines: dict[str, Callable[[int], Iterator]] = {"this suite": ours(root, args), "torchvision": plain(root, args)}
    rates: dict[str, list[float]] = {name: [] for name in pipelines}
    for epoch in range(args.repeats + 1):
        for name, pipeline in pipelines.items():
            start = time.perf_counter()
            seen = sum(len(images) for images in pipeline(epoch))
            rate = seen / (time.perf_counter() - start)
            if epoch:  # in the first one files come from the disk and processes begin
                rates[name].append(rate)
    return report.circumstances(torch.device("cpu")) | {"images per second": rates, "workers": args.workers}


def ours(root: Path, args) -> Callable[[int], Iterator]:
    """Epochs of batches as training gets them."""
    import torch

    from dataset import draw_epoch, visits
    from lottery.readers.image_files import RESIZED_CROP
    from lottery.readers.registry import FILES, read_source
    from lottery.training.recipe import batches
    from lottery.training.streamed_images import streamed_images

    source = read_source("imagenet", root, args.image_size, data_in=FILES, augmentation=RESIZED_CROP)
    train, _ = streamed_images(torch.device("cpu"), source, augmented=True, workers=args.workers)
    train.reserve_(args.batch_size)

    def epoch(number: int) -> Iterator:
        key = (0, 0, number)
        now = visits(torch.arange(len(train)), draw_epoch(len(train), train.padding, train.flips, key))
        arriving = train.training_batches(now, batches(len(train), args.batch_size), key)
        return (train.training_images(batch) for batch in arriving)

    return epoch


def plain(root: Path, args) -> Callable[[int], Iterator]:
    """The pipeline that most training scripts have, its processes kept from epoch to epoch as ours are."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    how = [transforms.RandomResizedCrop(args.image_size), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    loader = DataLoader(
        ImageFolder(root / "train", transforms.Compose(how)),
        args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    return lambda _: (images for images, _ in loader)


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.image_files", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
