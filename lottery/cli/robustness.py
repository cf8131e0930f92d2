"""Are tickets as robust as the dense network? Measure accuracy on test images that an attack has changed.

    python main_robustness.py retrain/dense retrain/ticket_2 retrain/ticket_5

Takes directories of main_train.py, main_dst.py, main_imp.py and main_PrAC_imp.py: of a search, every finished round.
Attacks the network whose test accuracy is reported, that of the best validation epoch, on the run's test images,
with FGSM and PGD, which change every pixel (values lie in 0 to 1) by at most --eps. Writes robustness.json into each
directory; report.py shows it. Networks that have been attacked like this before are skipped, and results of other
attacks are kept.
"""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from fractions import Fraction

from lottery.analysis.config import AttackConfig, RobustnessConfig
from lottery.checkpointing.script_names import Script
from lottery.cli import checks, flags
from lottery.cli.configs import command, from_flags
from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, path, positive_int, rising
from lottery.training.config import DeviceConfig
from utils import InputError, path_exists


def parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("runs", type=path, nargs="+", metavar="RUN", help="a run's directory, its --save_dir")
    parser.add_argument(
        "--rounds",
        type=rising("rounds", 0, "0,2,5", may_be_empty=False),
        metavar="0,2,5",
        help="of searches: attack the networks of these rounds; all finished rounds if not given",
    )
    parser.add_argument(
        "--data", type=path, metavar="DIR", help="directory of the images, if not where the runs had it"
    )
    flags.add_gpu(parser)
    add_attack(parser.add_argument_group("the attacks"))
    return parser


def add_attack(group) -> None:
    group.add_argument(
        "--eps",
        type=change,
        default=AttackConfig.eps,
        metavar="8/255",
        help="largest change of a pixel, whose values lie in 0 to 1",
    )
    group.add_argument("--pgd_steps", type=positive_int, default=AttackConfig.pgd_steps, help="gradient steps of PGD")
    group.add_argument(
        "--pgd_step_size",
        type=change,
        default=AttackConfig.pgd_step_size,
        metavar="2/255",
        help="change of a pixel in each of them",
    )
    group.add_argument(
        "--examples",
        type=positive_int,
        metavar="N",
        help="number of test images to attack, drawn with --seed; all of them if not given, or if there are fewer",
    )
    group.add_argument(
        "--seed", type=count_from_0, default=0, help="seed of PGD's random starts and of the choice of --examples"
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


def read_flags(argv: Sequence[str] | None) -> Namespace:
    """The flags, checked as far as can be done without runs or torch."""
    args = parser().parse_args(argv)
    for run in args.runs:
        if not path_exists("RUN", run):
            raise InputError(f"{run} does not exist")
        if not run.is_dir():
            raise InputError(f"{run} is no directory")
        checks.check_directory("RUN", run)  # where robustness.json is to lie
    return args


def read_config(argv: Sequence[str] | None) -> RobustnessConfig:
    args = read_flags(argv)
    return from_flags(
        RobustnessConfig,
        args,
        device=from_flags(DeviceConfig, args),
        attack=from_flags(AttackConfig, args),
        command=command(args, str(Script.ROBUSTNESS)),
    )
