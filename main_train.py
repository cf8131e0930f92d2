"""Train one lottery ticket, or the dense network, on all the training data, and report its test accuracy.

    python main_train.py --dataset cifar10 --data data/cifar10 --arch res20s \\
        --init_dir PrAC/5checkpoint.pth.tar --mask_dir PrAC/5checkpoint.pth.tar --save_dir retrain_PrAC/5

The ticket is a mask and the weights its training starts from, made by any script of this suite or by the 2021 PrAC-LTH
code. Writes checkpoint.pth.tar, model_SA_best.pth.tar and net_train.png. To go on with a run, give the same command
again.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

import flags
from controls import CONTROLS
from utils import InputError, run_script


def parser() -> flags.Parser:
    parser = flags.parser(__doc__)
    group = parser.add_argument_group("the ticket")
    flags.add_ticket(group, "dense")
    group.add_argument(
        "--control",
        choices=CONTROLS,
        help="train not the ticket but a control for it, drawn from --seed: "
        + "; ".join(f"{name}: {control.help}" for name, control in CONTROLS.items()),
    )
    flags.add_rewind_lr(group, "the training begins in the schedule where the ticket's weights stand")
    group.add_argument("--save_model", action="store_true", help="accepted for old commands: the model is always saved")
    return parser


def read_flags(argv: Sequence[str] | None) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch."""
    args = parser().parse_args(argv)
    flags.check(args)
    flags.check_ticket(args)
    if args.rewind_lr and not args.init_dir:
        raise InputError("--rewind_lr begins where the weights of --init_dir stand: give it")
    if args.control and not args.mask_dir:
        raise InputError(f"--control {args.control} needs a ticket's mask: give --mask_dir")
    return args


def work(argv: Sequence[str] | None) -> None:
    args = read_flags(argv)

    from retrain import train_ticket

    train_ticket(args)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_train.py", argv)


if __name__ == "__main__":
    sys.exit(main())
