"""Make a small dense network of a trained convolutional one by greedy forward selection of its channels.

    python main_channels.py --dataset cifar10 --arch res20s --init_dir dense/model_SA_best.pth.tar \\
        --keep 0.5 --fine_tune_epochs 20 --save_dir channels/res20s --export res20s_half.pt2

Layer by layer, front to back, it starts from no channels and adds the one that lowers the loss most (Ye et al., ICML
2020); then it fine-tunes. Channels of residual streams are kept. Without --init_dir it trains the dense network itself,
for --epochs, and selects at each iteration of --prune_at (Wolfe et al., arXiv 2108.00259). {k}checkpoint.pth.tar is a
ticket for main_train.py, {k}sliced.pt the network without its dropped channels. To resume, give the same command again.
"""

import zipfile
from argparse import ArgumentTypeError, Namespace
from collections.abc import Container, Sequence
from pathlib import Path

from lottery.checkpointing.script_names import Script
from lottery.cli import checks, flags
from lottery.cli.configs import from_flags, training_config
from lottery.cli.idle_flags import idle_notes
from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, not_negative, number, path, positive, positive_int, rising, share
from lottery.greedy.channels.budgets import check_budget, parse_layers
from lottery.greedy.channels.config import KEEP, BudgetConfig, ChannelSelectionConfig, SelectionConfig
from lottery.greedy.names import AVERAGE, BASELINES, CHANNEL_WEIGHTS, ONES, TOLERANCES, WHOLE
from utils import InputError, path_exists

SCRIPT = str(Script.CHANNELS)
FINE_TUNE_LR = {"sgd": 0.01, "adam": 0.0001}  # by --optimizer, if none is given


def parser() -> Parser:
    parser = flags.parser(__doc__)
    parser.set_defaults(epochs=None)
    _add_weights(parser.add_argument_group("trained weights"))
    _add_budget(parser.add_argument_group("how many channels, of which layers"))
    selection = parser.add_argument_group("selection")
    _add_picks(selection)
    _add_selection_examples(selection)
    _add_after(parser.add_argument_group("after the selection"))
    return parser


def _add_weights(group) -> None:
    group.add_argument(
        "--init_dir",
        type=path,
        metavar="FILE",
        help="the trained network: a checkpoint, whose trained weights are taken (best: model_SA_best.pth.tar of "
        "main_train.py), or a state_dict, such as torchvision's",
    )
    group.add_argument(
        "--prune_at",
        type=rising("iterations", 0, "0,500,1000", may_be_empty=False),
        metavar="0,500,1000",
        help="without --init_dir: iterations of the pre-training, of --epochs, at which to select, each independently "
        "of the others; its end if not given",
    )
    group.add_argument(
        "--delta",
        type=not_negative,
        default=1.0,
        help="a network counts as good enough at most this many points of accuracy below the fully trained dense one",
    )


def _add_budget(group) -> None:
    group.add_argument(
        "--keep",
        metavar="SHARE|N",
        help=f"budget: the share of each layer's channels to keep (at least one channel), such as {KEEP}, or their "
        f"number, such as 16; {KEEP} if neither --keep nor --top1_tol is given",
    )
    group.add_argument(
        "--top1_tol",
        type=share,
        help="instead of a budget: add channels until the accuracy on the examples to select by is at most this share "
        "lower",
    )
    group.add_argument(
        "--tolerance_of",
        choices=TOLERANCES,
        default=WHOLE,
        help="whole: the tolerance is for all layers together, against the accuracy before the first; the l-th of L "
        "layers may use l/L of it; layer: each layer may use all of it, against the accuracy before this layer, as in "
        "the authors' code, so that losses compound",
    )
    group.add_argument(
        "--layers",
        metavar="NAME[=BUDGET],...",
        help="convolutions to select in, by name or pattern (layer1.*), each optionally with a budget of its own: "
        "'layer[12].*=0.4,layer3.1.conv1=16'; all that can be pruned if not given",
    )


def _add_picks(group) -> None:
    group.add_argument(
        "--repeats",
        action="store_true",
        help="a channel may be picked more than once, which raises its weight; so in the theory, but not in the "
        "authors' code. A layer's selection then ends at the latest after twice as many picks as it has channels",
    )
    group.add_argument(
        "--candidates",
        type=count_from_0,
        default=50,
        help="channels to try at each step, drawn at random; 0: all",
    )
    group.add_argument(
        "--channel_weights",
        choices=CHANNEL_WEIGHTS,
        default=AVERAGE,
        help="what kept channels are multiplied by: average: D c / n for a channel with c of a layer's n picks, where "
        "D is the number of the layer's channels, so that their sum keeps its scale; ones: nothing",
    )


def _add_selection_examples(group) -> None:
    group.add_argument(
        "--select_examples",
        type=positive_int,
        help="number of training examples to select by; 1024, or all if there are fewer, if not given",
    )
    group.add_argument(
        "--select_batch", type=positive_int, default=128, help="size of the random mini-batch of them at each step"
    )
    group.add_argument(
        "--layer_tuning",
        type=number(float, "a number from 0 to 1", lambda value: 0 <= value <= 1),
        default=0.0,
        help="share of an epoch to train for after each layer's selection, at --fine_tune_lr (the authors: 0.1)",
    )
    group.add_argument(
        "--memory",
        type=count_from_0,
        default=2048,
        metavar="MIB",
        help="memory for the inputs of a layer on the examples to select by; if they need more, they are recomputed at "
        "each step",
    )


def _baselines(text: str) -> tuple[str, ...]:
    """An argparse type: 'random,magnitude', or one of them, as a tuple."""
    names = text.split(",")
    if not set(names) <= set(BASELINES) or len(set(names)) < len(names):
        raise ArgumentTypeError(f"must be {' or '.join(BASELINES)}, or both with a comma between, got {text!r}")
    return tuple(names)


def _add_after(group) -> None:
    by_optimizer = ", ".join(f"{lr} for {name}" for name, lr in FINE_TUNE_LR.items())
    group.add_argument(
        "--fine_tune_epochs",
        type=count_from_0,
        default=10,
        help="epochs of fine-tuning for each selected network; 0: none",
    )
    group.add_argument(
        "--fine_tune_lr",
        type=positive,
        help="learning rate of the fine-tuning, which drops to a tenth at one half and at three quarters; "
        f"{by_optimizer} if not given",
    )
    group.add_argument(
        "--baselines",
        type=_baselines,
        metavar=",".join(BASELINES),
        help="for comparison, also keep as many channels of each layer at random, or those whose filters have the "
        "largest L1 norm (Li et al., ICLR 2017), and fine-tune in the same way; each takes nearly as long again; none "
        "if not given",
    )
    group.add_argument(
        "--export",
        type=path,
        metavar="FILE.pt2",
        help="write the newest small network as a program that needs torch alone: "
        "torch.export.load(FILE).module()(images)",
    )


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as possible without data, network or torch."""
    own = parser()
    args = own.parse_args(argv)
    args.notes += idle_notes(args, own)
    _check_weights(args)
    checks.check(args, made_later)
    if args.fine_tune_lr is None:
        args.fine_tune_lr = FINE_TUNE_LR[args.optimizer]
    if args.keep is not None and args.top1_tol is not None:
        raise InputError("--keep is a budget and --top1_tol another way to end a selection: give one of them")
    if args.keep is None and args.top1_tol is None:
        args.keep = KEEP
    if args.keep is not None:
        check_budget(args.keep, "--keep")
    parse_layers(args.layers)
    args.baselines = args.baselines or ()
    if args.repeats and args.channel_weights == ONES:
        raise InputError(
            "--repeats raises the weight of channels, --channel_weights ones gives all the same: give one of them"
        )
    if args.export and path_exists("--export", args.export) and args.export.is_dir():
        raise InputError(f"--export {args.export} is a directory, a file is needed")
    if args.export:
        checks.check_parent("--export", args.export)
    if args.export and args.export.exists() and not is_exported_program(args.export):
        raise InputError(f"--export {args.export} would replace a file that is no exported program: give another name")
    return args


def is_exported_program(file: Path) -> bool:
    """Whether torch.export wrote this file; checkpoints and arrays are archives, too."""
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            names = {Path(name).name for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    return bool(names & {"archive_format", "serialized_exported_program.json"})  # of newer and older versions of torch


def read_config(argv: Sequence[str] | None) -> ChannelSelectionConfig:
    args = read_flags(argv)
    return from_flags(
        ChannelSelectionConfig,
        args,
        training=training_config(args, SCRIPT),
        budget=from_flags(BudgetConfig, args),
        selection=from_flags(SelectionConfig, args),
    )


def _check_weights(args: Namespace) -> None:
    """InputError unless the trained network is given in one way; with --init_dir there are no --epochs."""
    if args.init_dir is None and args.epochs is None:
        raise InputError(
            "there are no pre-trained weights to select from: give --init_dir FILE, or --epochs N to train them here"
        )
    if args.init_dir is not None:
        for flag in ("epochs", "prune_at"):
            if getattr(args, flag) is not None:
                raise InputError(
                    f"--{flag} is for training the dense network, which --init_dir gives as trained: give one of them"
                )
        recipe = {"schedule": args.schedule != "step", "gamma": args.gamma is not None, "lr": args.lr is not None}
        recipe |= {"decreasing_lr": args.decreasing_lr is not None, "warmup": args.warmup}
        if given := [f"--{flag}" for flag, is_given in recipe.items() if is_given]:
            raise InputError(
                f"{' and '.join(given)} {'are' if len(given) > 1 else 'is'} for training the dense network, which "
                "--init_dir gives as trained; the fine-tuning has --fine_tune_lr and a schedule of its own"
            )
        args.epochs = 0
