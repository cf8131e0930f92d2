"""Is a ticket stable to the noise of SGD? Train it twice, on the examples in other orders, and look between the two.

    python main_stability.py --dataset cifar10 --data data/cifar10 --arch res20s \\
        --init_dir lt/5checkpoint.pth.tar --mask_dir lt/5checkpoint.pth.tar --save_dir stability/5

Two copies of the same ticket (of the dense network without --mask_dir) are trained from the same weights, by
main_train.py with two --order_seed, in copy_1/ and copy_2/ of --save_dir. On the straight line between their weights
after the last epoch, loss and error are measured on test and training examples. The error barrier is the highest error
on the line minus the mean of its ends; a ticket is stable if that is below 2 points of test error (Frankle et al.,
"Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020). Writes summary.json and stability.png. To go
on with a run, give the same command again.
"""

import argparse
from collections.abc import Container, Sequence

from lottery.cli import train as main_train
from lottery.cli.parser import Parser
from lottery.cli.types import number
from utils import InputError, RandomStream, generator

POINTS, STATISTICS_EXAMPLES = 21, 2000


def parser() -> Parser:
    parser = main_train.training_parser(__doc__)
    _add_line(parser.add_argument_group("the two copies and the line between them"))
    return parser


def _add_line(group) -> None:
    """The flags that main_train.py does not have."""
    group.add_argument(
        "--order_seeds",
        type=two_seeds,
        metavar="A,B",
        help="the --order_seed of either copy; two drawn from --seed if not given",
    )
    group.add_argument(
        "--points",
        type=number(int, "a whole number from 3 up", lambda value: value >= 3),
        default=POINTS,
        help="places on the line to measure at, both ends among them, evenly spaced",
    )
    group.add_argument(
        "--statistics_examples",
        type=number(int, "a whole number from 2 up", lambda value: value >= 2),
        default=STATISTICS_EXAMPLES,
        metavar="N",
        help="so many training examples, drawn with --seed, that batch norm's statistics are estimated on anew at each "
        "place; all of them if there are fewer. Of no use to a network without batch norm",
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


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> argparse.Namespace:
    """The flags, checked as far as can be done without data, network or torch; fills in --order_seeds."""
    args = parser().parse_args(argv)
    main_train.check_training(args, made_later)
    if args.checkpoint:
        raise InputError("--checkpoint is of one training; two copies go on from what --save_dir holds")
    if args.order_seeds is None:
        args.order_seeds = tuple(
            generator(args.seed, purpose=RandomStream.ORDER_SEEDS).choice(2**31, 2, replace=False).tolist()
        )
    return args


def training_of(args: argparse.Namespace, copy: int) -> argparse.Namespace:
    """The flags of main_train.py that train this copy (0 or 1)."""
    own = Parser("")
    _add_line(own)
    own.add_argument("--save_dir")
    own.add_argument("--resume", action="store_true")  # one copy may be there and the other one not yet
    shared = own.parse_known_args(args.command_line)[1]
    order, folder = args.order_seeds[copy], args.save_dir / f"copy_{copy + 1}"
    return main_train.read_flags([*shared, "--order_seed", str(order), "--save_dir", str(folder)])
