"""Find lottery tickets by iterative magnitude pruning (Frankle & Carbin, ICLR 2019).

    python main_imp.py --dataset cifar10 --data data/cifar10 --arch res20s --prune_type rewind_lt --save_dir lt

Round k trains the ticket, prunes the smallest of its weights over all layers at once, and rewinds the rest: to their
initial values (lt) or to where they stood early in training (rewind_lt; Frankle et al., ICML 2020). The ticket of round
k is in SAVE_DIR/{k}checkpoint.pth.tar as soon as it is found. To go on with a run, give the same command again.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

import flags
from utils import InputError, run_script


def parser() -> flags.Parser:
    parser = flags.parser(__doc__)
    flags.add_pruning(parser, ("lt", "rewind_lt", "pt"))
    group = parser.add_argument_group("controls")
    group.add_argument("--random_prune", action="store_true", help="prune at random instead of by magnitude")
    flags.add_early_stop(parser, eps=None)
    flags.add_given_set(parser)
    group = parser.add_argument_group("a ticket to begin with, instead of the dense network")
    flags.add_ticket(group, "dense")
    return parser


def read_flags(argv: Sequence[str] | None) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch."""
    args = parser().parse_args(argv)
    flags.check_pruning(args)
    if args.random_prune and args.eb_eps is not None:
        raise InputError("--eb_eps waits for the mask to settle, with --random_prune it never does: give one of them")
    return args


def work(argv: Sequence[str] | None) -> None:
    args = read_flags(argv)

    from policy import FixedSets
    from search import find_tickets

    find_tickets(args, "main_imp.py", lambda bench: FixedSets([bench.whole]))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_imp.py", argv)


if __name__ == "__main__":
    sys.exit(main())
