"""Find lottery tickets by iterative magnitude pruning (Frankle & Carbin, ICLR 2019).

    python main_imp.py --dataset cifar10 --data data/cifar10 --arch res20s --prune_type rewind_lt --save_dir lt

Round k trains the ticket, prunes the smallest of its weights over all layers at once, and rewinds the rest: to their
initial values (lt) or to where they stood early in training (rewind_lt; Frankle et al., ICML 2020). The ticket of round
k is in SAVE_DIR/{k}checkpoint.pth.tar as soon as it is found. To go on with a run, give the same command again.
"""

from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.checkpointing.script_names import Script
from lottery.cli import basis_flags, checks, flags, search_flags
from lottery.cli.configs import search_config
from lottery.cli.idle_flags import idle_notes
from lottery.cli.parser import Parser
from lottery.cli.retraining import with_retraining
from lottery.cli.types import path
from lottery.search.config import ImpConfig
from utils import InputError

SCRIPT = str(Script.IMP)


def parser() -> Parser:
    parser = flags.parser(__doc__)
    search_flags.add_pruning(parser, ("lt", "rewind_lt", "pt"))
    group = parser.add_argument_group("controls")
    group.add_argument("--random_prune", action="store_true", help="prune at random instead of by magnitude")
    group.add_argument(
        "--steps_of",
        type=path,
        metavar="DIR",
        help="train each round on all the data, but only for as many optimiser steps as that round of the finished "
        "PrAC run in DIR took, in the nearest whole number of epochs; milestones and warm-up scale in proportion",
    )
    basis_flags.add_basis(parser)
    search_flags.add_early_stop(parser, eps=None)
    search_flags.add_given_set(parser)
    flags.add_batch_selection(parser.add_argument_group("which examples an epoch leaves out"))
    search_flags.add_savings(parser)
    group = parser.add_argument_group("a ticket to begin with, instead of the dense network")
    flags.add_ticket(group)
    return parser


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch."""
    own = parser()
    args = own.parse_args(argv)
    args.notes += idle_notes(args, own)
    checks.check_pruning(args, made_later)
    basis_flags.check_basis(args)
    if args.random_prune and args.eb_eps is not None:
        raise InputError("--eb_eps waits for the mask to settle, with --random_prune it never does: give one of them")
    check_steps(args)
    return args


def read_config(argv: Sequence[str] | None) -> ImpConfig:
    return search_config(ImpConfig, with_retraining(read_flags(argv), parser()), SCRIPT)


def check_steps(args: Namespace) -> None:
    """With --steps_of nothing else decides how long a round trains, and on how many examples."""
    others = {"prac_set": args.prac_set, "eb_eps": args.eb_eps is not None, "rewind_lr": args.rewind_lr}
    others |= {"batch_selection": args.batch_selection}
    rivals = [f"--{name}" for name, given in others.items() if given]
    if args.steps_of and rivals:
        raise InputError(
            f"--steps_of says how many steps a round trains on all the data, {' and '.join(rivals)} would change that: "
            "give one or the other"
        )
