"""Train one lottery ticket, or the dense network, on all the training data, and report its test accuracy.

    python main_train.py --dataset cifar10 --data data/cifar10 --arch res20s \\
        --init_dir PrAC/5checkpoint.pth.tar --mask_dir PrAC/5checkpoint.pth.tar --save_dir retrain_PrAC/5

The ticket is a mask and the weights its training starts from, made by any script of this suite or by the 2021 PrAC-LTH
code. Writes checkpoint.pth.tar, model_SA_best.pth.tar and net_train.png. To go on with a run, give the same command
again.
"""

from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.checkpointing.script_names import Script
from lottery.cli import checks, flags
from lottery.cli.configs import ticket_training_config
from lottery.cli.parser import Parser
from lottery.cli.shards import add_shards
from lottery.retraining.config import RetrainingConfig
from lottery.retraining.rules import RULES, check_schedule
from lottery.tickets.controls import CONTROLS
from utils import InputError

SCRIPT = str(Script.TRAIN)


def parser() -> Parser:
    parser = training_parser(__doc__)
    flags.add_order_seed(parser.add_argument_group("seeds"))
    return parser


def training_parser(doc: str) -> Parser:
    """What a training takes, whatever gives it the order of its examples."""
    parser = flags.parser(doc)
    add_shards(parser)
    group = parser.add_argument_group("the ticket")
    flags.add_ticket(group)
    group.add_argument(
        "--control",
        choices=CONTROLS,
        help="train not the ticket but a control for it, drawn from --seed: "
        + "; ".join(f"{name}: {control.help}" for name, control in CONTROLS.items()),
    )
    flags.add_rewind_lr(group, "the training begins in the schedule where the ticket's weights stand")
    group.add_argument(
        "--rule",
        choices=RULES,
        help="train for what is left of the schedule's T steps after step t, where the starting weights of --init_dir "
        "stand (Renda et al., ICLR 2020), with "
        + "; ".join(f"{name}: {rule.help}" for name, rule in RULES.items())
        + ". Trained weights are those that the training in --init_dir left, a round before that of --mask_dir "
        "(or the dense 0checkpoint.pth.tar); a one-shot ticket is made by main_imp.py --pruning_times 1 --rate 0.8. "
        "weight_rewinding is --rewind_lr by another name",
    )
    flags.add_batch_selection(parser.add_argument_group("which examples an epoch leaves out"))
    group.add_argument("--save_model", action="store_true", help="accepted for old commands: the model is always saved")
    return parser


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch."""
    args = parser().parse_args(argv)
    check_training(args, made_later)
    return args


def read_config(argv: Sequence[str] | None) -> RetrainingConfig:
    return ticket_training_config(RetrainingConfig, read_flags(argv), SCRIPT)


def check_training(args: Namespace, made_later: Container[str] = ()) -> None:
    """InputError for flags of `training_parser` that do not go together; fills in --data and --dataset."""
    checks.check(args, made_later)
    checks.check_ticket(args)
    if args.control and not args.mask_dir:
        raise InputError(f"--control {args.control} needs a ticket's mask: give --mask_dir")
    if args.control and CONTROLS[args.control].fresh and args.weights:
        raise InputError(f"--control {args.control} draws its weights, --weights gives others: give one of them")
    check_rule(args)


def check_rule(args: Namespace) -> None:
    """InputError for what does not go with a rule; under every rule a training begins where its ticket stands, which
    is what --rewind_lr asks for."""
    asked = f"--rule {args.rule}" if args.rule else "--rewind_lr"
    if (args.rule or args.rewind_lr) and not args.init_dir:
        raise InputError(f"{asked} begins where the weights of --init_dir stand: give it")
    if args.rewind_lr and args.rule not in (None, "weight_rewinding"):
        raise InputError(f"--rewind_lr is --rule weight_rewinding, got {asked} beside it: give one of them")
    if args.rule and args.control and CONTROLS[args.control].fresh:
        raise InputError(
            f"{asked} is about the weights of a ticket, --control {args.control} draws others: give one of them"
        )
    check_schedule(args.rule, args.schedule)
    args.rewind_lr |= args.rule is not None
