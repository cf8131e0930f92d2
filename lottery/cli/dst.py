"""Train a sparse network whose mask changes, in one training (dynamic sparse training).

    python main_dst.py --dataset cifar10 --data data/cifar10 --arch res20s --method rigl --density 0.05 \\
        --save_dir rigl/seed_0

The network is sparse from the first step on (static, set, rigl), or becomes so from step to step (gmp, acdc, dpf); when
the training ends, the mask has exactly the density that was asked for. Writes
checkpoint.pth.tar, whose mask and rewound weights main_train.py takes as --init_dir and --mask_dir like any ticket,
model_SA_best.pth.tar, the trained sparse network, and net_train.png. To go on with a run, give the same command again.
"""

from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.checkpointing.script_names import Script
from lottery.cli import checks, flags, search_flags
from lottery.cli.configs import from_flags, ticket_config, training_config
from lottery.cli.idle_flags import idle_notes
from lottery.cli.parser import Parser
from lottery.cli.retraining import with_retraining
from lottery.cli.shards import add_shards
from lottery.cli.types import number, positive_int, share
from lottery.sparse_training.config import DROPS, METHODS, OPTIONS, Method, SparseTrainingConfig
from lottery.tickets.layer_quotas import DISTRIBUTIONS
from utils import InputError

SCRIPT = str(Script.DST)


def parser() -> Parser:
    parser = flags.parser(__doc__)
    add_shards(parser)
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
    group.add_argument(
        "--distribution",
        choices=DISTRIBUTIONS,
        help="how the random mask that "
        f"{having('distribution')} begin with is spread over the layers: "
        + "; ".join(f"{name}: {each.help}" for name, each in DISTRIBUTIONS.items())
        + "; erk if not given",
    )
    _add_schedule(group)
    group.add_argument(
        "--drop_fraction",
        type=share,
        help=f"{having('drop_fraction')}: share of each layer's kept weights that the first change drops, and grows "
        f"again; it falls along a cosine, to 0 at --update_until; {defaults('drop_fraction')} if not given",
    )
    group.add_argument(
        "--drop",
        choices=DROPS,
        help="set: drop the weights of smallest magnitude; or by sign, the same share of the positive and of the "
        "negative ones, those nearest to 0, as the paper has it; magnitude if not given",
    )
    group = parser.add_argument_group("the ticket")
    search_flags.add_rewinding(group, ("lt", "rewind_lt"))
    flags.add_batch_selection(parser.add_argument_group("which examples an epoch leaves out"))
    group = parser.add_argument_group("a ticket to begin with, instead of the dense network")
    flags.add_ticket(group)
    return parser


def _add_schedule(group) -> None:
    part = number(float, "a number from 0 to 1", lambda value: 0 <= value <= 1)
    group.add_argument(
        "--update_from",
        type=part,
        help="share of the training's steps after which changes begin, but not before the rewinding point; if not "
        f"given, {defaults('update_from')}",
    )
    group.add_argument(
        "--update_until",
        type=part,
        help="share of the training's steps after which the mask changes for the last time, or where the last change "
        f"of set and rigl comes before; if not given, {defaults('update_until')}",
    )
    every = [f"a {each.updates}th for {name}{at_least(each)}" for name, each in METHODS.items() if each.updates]
    group.add_argument(
        "--update_every",
        type=positive_int,
        metavar="STEPS",
        help=f"optimiser steps between two changes; if not given, of the training's steps {', '.join(every)}",
    )


def at_least(method: Method) -> str:
    """The steps that lie between two changes of a method in a short training, in words."""
    if method.growing:
        return f" (at least {method.growing}, or a 10th of fewer than {10 * method.growing:,}, at least {method.least})"
    return f" (at least {method.least})" if method.least > 1 else ""


def having(setting: str) -> str:
    """The methods that have a setting, in words."""
    return _in_words([name for name, method in METHODS.items() if setting in method.settings])


def defaults(setting: str) -> str:
    """The defaults of a setting, in words: "0.0 for set and rigl, 0.2 for gmp"; one value if all have the same."""
    methods: dict[object, list[str]] = {}
    for name, method in METHODS.items():
        if setting in method.settings:
            methods.setdefault(method.settings[setting], []).append(name)
    if len(methods) == 1:
        return str(next(iter(methods)))
    return ", ".join(f"{value} for {_in_words(names)}" for value, names in methods.items())


def _in_words(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch."""
    own = parser()
    args = own.parse_args(argv)
    args.notes += idle_notes(args, own)
    checks.check(args, made_later)
    checks.check_rewinding(args)
    checks.check_ticket(args)
    check_method(args)
    return args


def check_method(args: Namespace) -> None:
    """InputError for settings that the method does not have, or that leave nothing of it; fills in its own."""
    method, known = METHODS[args.method], METHODS[args.method].settings
    for name in OPTIONS:
        if getattr(args, name) is None:
            setattr(args, name, known.get(name))
        elif name not in known:
            raise InputError(
                f"--{name} {getattr(args, name)} is for --method {having(name)}, got --method {args.method}: omit it"
            )
    check_schedule(args)
    if method.begins_sparse and args.prune_type == "rewind_lt":
        raise InputError(
            f"--prune_type rewind_lt: with --method {args.method} the network is sparse from the first step on, so "
            "that no later weights are those of a dense one: give lt"
        )
    if method.begins_sparse and args.mask_dir:
        raise InputError(
            f"--mask_dir {args.mask_dir}: --method {args.method} begins with a random mask of --density: omit it "
            "(main_train.py trains under a given mask)"
        )


def check_schedule(args: Namespace) -> None:
    """InputError for a schedule without a change, or one whose changes leave no step to train."""
    method = METHODS[args.method]
    if args.update_from is None:
        return
    if args.update_from > args.update_until:
        raise InputError(
            f"--update_from {args.update_from} lies after --update_until {args.update_until}: give a smaller one"
        )
    if "drop_fraction" in method.settings and args.update_from == args.update_until:
        raise InputError(
            f"--update_from and --update_until are both {args.update_from}: no change would come between them; "
            "--method static never changes its mask"
        )
    if method.replaces_steps and args.update_every == 1:
        raise InputError(
            f"--update_every 1: a change of {args.method} takes the place of an optimiser step, and none would be "
            "left: give 2 or more"
        )


def read_config(argv: Sequence[str] | None) -> SparseTrainingConfig:
    args = with_retraining(read_flags(argv), parser())
    return from_flags(SparseTrainingConfig, args, training=training_config(args, SCRIPT), ticket=ticket_config(args))
