"""Prune a network while it trains, in one training (dynamic sparse training).

    python main_dst.py --dataset cifar10 --data data/cifar10 --arch res20s --method gmp --density 0.05 \\
        --prune_type rewind_lt --save_dir gmp/seed_0

The mask shrinks from step to step; when the training ends, it has exactly the density that was asked for. Writes
checkpoint.pth.tar, whose mask and rewound weights main_train.py takes as --init_dir and --mask_dir like any ticket,
model_SA_best.pth.tar, the trained sparse network, and net_train.png. To go on with a run, give the same command again.
"""

from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.checkpointing.script_names import Script
from lottery.cli import checks, flags, search_flags
from lottery.cli.configs import from_flags, ticket_config, training_config
from lottery.cli.parser import Parser
from lottery.cli.retraining import with_retraining
from lottery.cli.types import number, positive_int, share
from lottery.sparse_training.config import METHODS, UPDATE_FROM, UPDATE_UNTIL, UPDATES, SparseTrainingConfig
from utils import InputError

SCRIPT = str(Script.DST)


def parser() -> Parser:
    parser = flags.parser(__doc__)
    group = parser.add_argument_group("how the mask changes")
    group.add_argument(
        "--method",
        choices=METHODS,
        required=True,
        help="; ".join(f"{name}: {method.help}" for name, method in METHODS.items()),
    )
    group.add_argument(
        "--density", type=share, required=True, help="share of the prunable weights that is kept in the end, rounded"
    )
    part = number(float, "a number from 0 to 1", lambda value: 0 <= value <= 1)
    group.add_argument(
        "--update_from",
        type=part,
        default=UPDATE_FROM,
        help="share of the training's steps after which changes begin, but not before the rewinding point",
    )
    group.add_argument(
        "--update_until",
        type=part,
        default=UPDATE_UNTIL,
        help="share of the training's steps after which the mask changes for the last time",
    )
    group.add_argument(
        "--update_every",
        type=positive_int,
        metavar="STEPS",
        help=f"optimiser steps between two changes; a {UPDATES}th of the training, at least one, if not given",
    )
    group = parser.add_argument_group("the ticket")
    search_flags.add_rewinding(group, ("lt", "rewind_lt"))
    flags.add_batch_selection(parser.add_argument_group("which examples an epoch leaves out"))
    group = parser.add_argument_group("a ticket to begin with, instead of the dense network")
    flags.add_ticket(group, "dense")
    return parser


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch."""
    args = parser().parse_args(argv)
    checks.check(args, made_later)
    checks.check_rewinding(args)
    checks.check_ticket(args)
    if args.update_from > args.update_until:
        raise InputError(
            f"--update_from {args.update_from} lies after --update_until {args.update_until}: give a smaller one"
        )
    return args


def read_config(argv: Sequence[str] | None) -> SparseTrainingConfig:
    args = with_retraining(read_flags(argv), parser())
    return from_flags(SparseTrainingConfig, args, training=training_config(args, SCRIPT), ticket=ticket_config(args))
