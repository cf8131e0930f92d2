"""Are tickets as robust as the dense network? Accuracy on test images that an attack has changed.

    python main_robustness.py retrain/dense retrain/ticket_2 retrain/ticket_5

Takes directories of main_train.py, main_imp.py and main_PrAC_imp.py; of a search every finished round. Attacks the
network whose test accuracy is reported, that of the best validation epoch, on the images that it was tested on: with
FGSM and PGD, which change every pixel by at most --eps of the range from 0 to 1. Writes robustness.json into each
directory, which report.py shows. Networks that were attacked like this before are not attacked again; what other
attacks gave is kept.
"""

import argparse
from collections.abc import Container, Sequence
from fractions import Fraction

from lottery.cli import checks, flags
from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, path, positive_int, rising
from utils import InputError


def parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("runs", type=path, nargs="+", metavar="RUN", help="a run's directory, its --save_dir")
    parser.add_argument(
        "--rounds",
        type=rising("rounds", 0, "0,2,5", may_be_empty=False),
        metavar="0,2,5",
        help="of searches: these rounds' networks; all that are finished if not given",
    )
    parser.add_argument("--data", type=path, metavar="DIR", help="where the images lie, if not where they were")
    flags.add_gpu(parser)
    _add_attack(parser.add_argument_group("the attacks"))
    return parser


def _add_attack(group) -> None:
    group.add_argument(
        "--eps",
        type=change,
        default=Fraction(8, 255),
        metavar="8/255",
        help="the most that a pixel, from 0 to 1, changes",
    )
    group.add_argument("--pgd_steps", type=positive_int, default=10, help="gradient steps of PGD")
    group.add_argument(
        "--pgd_step_size",
        type=change,
        default=Fraction(2, 255),
        metavar="2/255",
        help="how much a pixel changes in each of them",
    )
    group.add_argument(
        "--examples",
        type=positive_int,
        metavar="N",
        help="attack so many test images, drawn with --seed; all of them if not given, or if there are fewer",
    )
    group.add_argument(
        "--seed", type=count_from_0, default=0, help="random starts of PGD, and which --examples, follow from it"
    )


def change(text: str) -> Fraction:
    """An argparse type: a number above 0, at most 1, as a fraction or not: '8/255' or '0.03'."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0, at most 1, such as 8/255 or 0.03, got {text}")
    return value


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> argparse.Namespace:
    """The flags, checked as far as can be done without runs or torch."""
    args = parser().parse_args(argv)
    for run in args.runs:
        if not run.is_dir():
            raise InputError(f"{run} is no directory" if run.exists() else f"{run} does not exist")
        checks.check_directory("RUN", run)  # where robustness.json is to lie
    return args
