"""The flag --shards and its check: one run on many GPUs. Importing this module does not import torch."""

from argparse import Namespace

from lottery import ranks
from lottery.cli.parser import Parser
from lottery.cli.types import positive_int
from utils import InputError


def add_shards(parser: Parser) -> None:
    group = parser.add_argument_group("one run on many GPUs")
    group.add_argument(
        "--shards",
        type=positive_int,
        default=1,
        metavar="S",
        help="cut each batch into S parts, a power of two, each with batch norm statistics of its own, shared out "
        "among the processes of torchrun: torchrun --nproc-per-node 4 SCRIPT --shards 4. What comes out depends on S "
        "and not on the number of processes, which may be 1",
    )


def check_shards(args: Namespace) -> None:
    """Batches can be cut into so many shards, and the ranks that torchrun started can share them out."""
    if "shards" not in args:
        return
    shards, there = args.shards, ranks.count()
    if there & (there - 1):
        raise InputError(f"torchrun started {there} ranks, a power of two is needed, such as 2 or 4")
    if there > 1 and args.gpu not in (None, -1):
        raise InputError(
            f"--gpu {args.gpu} is one GPU for {there} ranks: leave it out, and each rank takes that of its own number"
        )
    if shards & (shards - 1):
        raise InputError(f"--shards must be a power of two, such as 2 or 4, got {shards}")
    if shards % there:
        raise InputError(
            f"torchrun started {there} ranks, --shards {shards} has not one for each: give --shards {there}, or a "
            "larger power of two"
        )
    if shards > 1 and args.batch_size < 2 * shards:
        raise InputError(
            f"--shards {shards} needs a --batch_size of at least {2 * shards}, two examples for each shard, got "
            f"{args.batch_size}"
        )
