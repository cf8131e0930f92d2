"""Is a ticket stable to the noise of SGD? Train it twice, on the examples in different orders, and compare.

    python main_stability.py --dataset cifar10 --data data/cifar10 --arch res20s \\
        --init_dir lt/5checkpoint.pth.tar --mask_dir lt/5checkpoint.pth.tar --save_dir stability/5

Trains two copies of the same ticket (of the dense network without --mask_dir) from the same weights, as main_train.py
does with two different --order_seed, in copy_1/ and copy_2/ of --save_dir. Then measures loss and error on test and
training examples along the straight line between their final weights. The error barrier is the highest error on the
line minus the mean of its ends; a ticket is stable if the barrier is below 2 points of test error (Frankle et al.,
"Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020). Writes summary.json and stability.png. To
resume a run, give the same command again.
"""

import argparse
import shlex
from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.analysis.config import StabilityConfig, copy_directory
from lottery.checkpointing.script_names import Script
from lottery.cli import checks, train
from lottery.cli.configs import from_flags, ticket_config, training_config
from lottery.cli.parser import Parser
from lottery.cli.types import number
from utils import InputError, RandomStream, generator


def parser() -> Parser:
    parser = train.training_parser(__doc__)
    add_line(parser.add_argument_group("the two copies and the line between them"))
    return parser


def add_line(group) -> None:
    """The flags that main_train.py does not have."""
    group.add_argument(
        "--order_seeds",
        type=two_seeds,
        metavar="A,B",
        help="the --order_seed of each copy; two drawn from --seed if not given",
    )
    group.add_argument(
        "--points",
        type=number(int, "a whole number from 3 up", lambda value: value >= 3),
        default=StabilityConfig.points,
        help="evenly spaced points on the line to measure at, both ends included",
    )
    group.add_argument(
        "--statistics_examples",
        type=number(int, "a whole number from 2 up", lambda value: value >= 2),
        default=StabilityConfig.statistics_examples,
        metavar="N",
        help="training examples, drawn with --seed, on which batch-norm statistics are re-estimated at each point; all "
        "of them if there are fewer. Has no effect on a network without batch norm",
    )


def two_seeds(text: str) -> tuple[int, int]:
    """An argparse type: two different whole numbers from 0 up with a comma between."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        first = second = -1
    if min(first, second) < 0 or first == second:
        raise argparse.ArgumentTypeError(f"must be two different whole numbers from 0 up, such as 1,2, got {text!r}")
    return first, second


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch; fills in --order_seeds."""
    args = parser().parse_args(argv)
    train.check_training(args, made_later)
    for copy in (0, 1):
        checks.check_save_dir(copy_directory(args.save_dir, copy))
    if args.checkpoint:
        raise InputError("--checkpoint belongs to one training; the two copies resume from what --save_dir holds")
    if args.order_seeds is None:
        drawn = generator(args.seed, purpose=RandomStream.ORDER_SEEDS).choice(2**31, 2, replace=False)
        args.order_seeds = tuple(drawn.tolist())
    return args


def read_config(argv: Sequence[str] | None) -> StabilityConfig:
    args = read_flags(argv)
    return from_flags(
        StabilityConfig,
        args,
        training=training_config(args, str(Script.STABILITY)),
        ticket=ticket_config(args),
        copy_commands=(copy_command(args, 0), copy_command(args, 1)),
    )


def copy_command(args: Namespace, copy: int) -> str:
    """The main_train.py command that trains copy 0 or 1 alone: the words given here that main_train.py knows, with the
    copy's own --order_seed and --save_dir."""
    own = Parser("")
    add_line(own)
    own.add_argument("--save_dir")
    own.add_argument("--resume", action="store_true")  # one copy may exist and the other not yet
    own.add_argument("--overwrite", action="store_true")  # the command would begin a finished copy anew
    shared = own.parse_known_args(args.command_line)[1]
    order_seed, directory = args.order_seeds[copy], copy_directory(args.save_dir, copy)
    words = ["python", str(Script.TRAIN), *shared, "--order_seed", str(order_seed), "--save_dir", str(directory)]
    return shlex.join(words)
