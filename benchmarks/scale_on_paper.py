"""How long an epoch of ResNet-50 on ImageNet would take on 8 and on 64 GPUs: arithmetic, nothing is run.

    python -m benchmarks.scale_on_paper

A step is the computation on each GPU and then the exchange of the gradients, one after the other; reading and decoding
go on beside it, so that an epoch takes as long as the slowest of the three. Each number below has its source in
docs/scale.md; the flags change those that differ from place to place.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

from lottery.cli import flags
from lottery.cli.script import run_script
from utils import InputError

TRAINING, VALIDATION = 1_281_167, 50_000  # images of ImageNet
BYTES = 138e9  # of the files that an epoch reads
FORWARD = 2 * 4.09e9  # FLOPs an image of 224 x 224; a multiplication and an addition are two
TRAIN = 3 * FORWARD  # the backward pass is two forward ones
GRADIENTS = 4 * 25.6e6  # bytes, in float32
GPUS_A_NODE = 8


class Node(NamedTuple):
    """A kind of GPU, eight of which make a node."""

    name: str
    peak: float  # FLOPs a second in bf16, dense
    utilisation: float  # the share of it that training reaches
    link: float  # bytes a second between GPUs of a node, in each direction
    network: float  # bytes a second between nodes for each GPU, in each direction
    cores: int  # of the node's CPUs


NODES = (Node("A100", 312e12, 0.20, 300e9, 25e9, 128), Node("H100", 989e12, 0.10, 450e9, 50e9, 112))


class Epoch(NamedTuple):
    """What an epoch takes, in seconds, and its steps."""

    steps: int
    computing: float
    exchange: float
    decoding: float
    reading: float

    @property
    def seconds(self) -> float:
        return max(self.terms().values())

    @property
    def limit(self) -> str:
        """What takes longest."""
        terms = self.terms()
        return max(terms, key=lambda name: terms[name])

    def terms(self) -> dict[str, float]:
        """What goes on side by side."""
        return {"GPUs": self.computing + self.exchange, "decoding": self.decoding, "reading": self.reading}


def epoch(node: Node, gpus: int, batch: int, decode: float, disk: float) -> Epoch:
    """An epoch on so many GPUs with so many images a step on each, if a core decodes `decode` images a second and a
    node reads `disk` bytes a second. The validation images are evaluated."""
    steps, nodes, images = TRAINING // (gpus * batch), max(1, gpus // GPUS_A_NODE), TRAINING + VALIDATION
    return Epoch(
        steps,
        computing=steps * step(node, batch) + VALIDATION / gpus * FORWARD / rate(node),
        exchange=steps * exchange(node, gpus),
        decoding=images / (nodes * node.cores * decode),
        reading=BYTES / (nodes * disk),
    )


def rate(node: Node) -> float:
    """FLOPs a second of one GPU in training."""
    return node.peak * node.utilisation


def step(node: Node, batch: int) -> float:
    """Seconds that a GPU computes in a step."""
    return batch * TRAIN / rate(node)


def exchange(node: Node, gpus: int) -> float:
    """Seconds in which the gradients of so many GPUs are added in a binary tree: in each of log2(gpus) exchanges every
    GPU sends and gets all of them, first within its node, then between nodes."""
    within = int(math.log2(min(gpus, GPUS_A_NODE)))
    between = int(math.log2(gpus)) - within
    return GRADIENTS * (within / node.link + between / node.network)


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    add("--gpus", type=flags.positive_int, nargs="+", default=[8, 64], help="powers of two")
    add("--batch_size", type=flags.positive_int, default=128, help="images a step on each GPU")
    add("--decode", type=flags.positive, default=611, help="images a second that a core decodes and crops")
    add("--disk", type=flags.positive, default=2, help="GB a second that a node reads")
    add(
        "--utilisation",
        type=flags.share,
        help="share of the peak that is reached; 0.2 on A100, 0.1 on H100 if not given",
    )
    add("--epochs", type=flags.positive_int, default=90, help="epochs of a round")
    add(
        "--pruning_times",
        type=flags.positive_int,
        default=16,
        help="prunings of a search, each after a round; the training of its ticket is as long as a round",
    )
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)
    if wrong := next((gpus for gpus in args.gpus if gpus & (gpus - 1)), None):
        raise InputError(f"--gpus must be powers of two, got {wrong}")
    print(*markdown(args), sep="\n")


def markdown(args: argparse.Namespace) -> list[str]:
    """The table, a row a kind of GPU and number of them."""
    nodes = [node._replace(utilisation=args.utilisation or node.utilisation) for node in NODES]
    rows = [row(node, gpus, args) for gpus in args.gpus for node in nodes]
    lines = [[*HEADINGS], ["---"] * len(HEADINGS), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


HEADINGS = ("GPUs", "computing a step, ms", "exchange a step, ms", "computing, s", "exchange, s", "decoding, s",
            "reading, s", "an epoch, s", "limit", "a round, h", "a search and its ticket, h")  # fmt: skip


def row(node: Node, gpus: int, args: argparse.Namespace) -> list[str]:
    found = epoch(node, gpus, args.batch_size, args.decode, args.disk * 1e9)
    round_hours = args.epochs * found.seconds / 3600
    a_step = [1e3 * step(node, args.batch_size), 1e3 * exchange(node, gpus)]
    terms = (found.computing, found.exchange, found.decoding, found.reading, found.seconds)
    hours = (round_hours, (args.pruning_times + 1) * round_hours)
    return [f"{gpus} {node.name}", *numbers(a_step), *numbers(terms), found.limit, *numbers(hours)]


def numbers(values: Sequence[float]) -> list[str]:
    """With one place, or none from ten up."""
    return [f"{value:.1f}" if value < 10 else f"{value:.0f}" for value in values]


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.scale_on_paper", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
