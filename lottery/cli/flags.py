"""The flags the scripts share, and their checks: done before anything heavy is imported or any work begun."""

import argparse
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lottery.readers.registry import DATASETS, check_source
from models import STEMS, check_arch
from utils import InputError

# Flags that say where things are or how a run shows itself: they may differ when a run goes on.
NOT_RESULTS = {
    "data",
    "save_dir",
    "gpu",
    "compile",
    "deterministic",
    "print_freq",
    "save_interval",
    "resume",
    "checkpoint",
    "overwrite",
    "save_model",
    "tensorboard",
    "delta",
    "export",
    "command_line",
}
# Flags that came later than the first files of their scripts, with what was done before there were any; and the layer
# that is not pruned, recorded where it is not the one that every network had before.
LATER = {"rule": None, "order_seed": None, "inverted": False, "weights": "starting",
         "classifier": "the last linear layer in order of registration"}  # fmt: skip
# Flags that name files: a run records what is in the files instead.
FILES = ("split_file", "prac_set", "init_dir", "mask_dir", "like", "like_run", "steps_of")
RUNS = ("like_run", "steps_of")  # those of them that name a run's directory
# Of names around that of a directory: of a file in it while it is written, and what its old run's has in addition.
LONGEST_NAME, LONGEST_ENDING = 60 * "x", ".old.moving"
SHOWN = 80  # letters of a path that is too long


class Parser(argparse.ArgumentParser):
    """argparse whose errors are our InputError: one sentence, status 2."""

    def __init__(self, doc: str):
        super().__init__(description=doc, formatter_class=Formatter, allow_abbrev=False)

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        """As ever; `command_line` is what was given."""
        found = super().parse_args(args, namespace)
        found.command_line = list(sys.argv[1:] if args is None else args)
        return found

    def error(self, message: str):
        raise InputError(message.replace("argument --", "--"))


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that keeps the script's own paragraphs and ends each flag with its default, if it has one to tell."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30, width=100)

    def _get_help_string(self, action: argparse.Action) -> str:
        silent = any(action.default is value for value in (None, False, argparse.SUPPRESS))  # but 0 is told
        telling = action.option_strings and not silent
        return f"{action.help} (default: %(default)s)" if telling else action.help


# --- values -----------------------------------------------------------------------------------------------------------


def number(kind: type, allowed: str, accept: Callable[[float], bool]) -> Callable[[str], float]:
    """An argparse type: a number of `kind` that `accept` takes; `allowed` says in words which those are."""

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not accept(value):
            raise argparse.ArgumentTypeError(f"must be {allowed}, got {text}")
        return value

    return parse


positive_int = number(int, "a whole number from 1 up", lambda value: value >= 1)
count_from_0 = number(int, "a whole number from 0 up", lambda value: value >= 0)
share = number(float, "a number between 0 and 1, both excluded", lambda value: 0 < value < 1)
LARGEST = 3e38  # what float32 holds
positive = number(float, "a number above 0", lambda value: 0 < value < LARGEST)
not_negative = number(float, "a number from 0 up", lambda value: 0 <= value < LARGEST)


def path(text: str) -> Path:
    """A path, ~ being the user's home, which a shell does not know within --flag=~/x; the empty one, an unset shell
    variable, would be the current directory."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got nothing")
    return expand_home(text)


def expand_home(text: str) -> Path:
    """A path, ~ at its beginning being the user's home, as a shell has it: ./~ and ~nobody are files of that name."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (that of Path takes ./~ for the home, and fails for ~nobody)


def rising(what: str, lowest: int, example: str, may_be_empty: bool) -> Callable[[str], tuple[int, ...]]:
    """An argparse type: whole numbers from `lowest` up with commas between, each above the one before."""

    def parse(text: str) -> tuple[int, ...]:
        try:
            values = tuple(int(part) for part in text.split(",")) if text or not may_be_empty else ()
        except ValueError:
            values = (lowest - 1,)
        if list(values) != sorted(set(values)) or any(value < lowest for value in values):
            raise argparse.ArgumentTypeError(
                f"must be {what} from {lowest} up in rising order, such as {example}, got {text!r}"
            )
        return values

    return parse


milestones = rising("epochs", 1, "91,136", may_be_empty=True)  # '91,136' -> (91, 136)


# --- groups -----------------------------------------------------------------------------------------------------------


def parser(doc: str) -> Parser:
    """A parser with what every script takes."""
    flags = Parser(doc)
    run = flags.add_argument_group("the run")
    add_run(run)
    _add_arithmetic(run)
    add_resuming(run)
    data = flags.add_argument_group("data")
    add_data(data)
    add_split(data)
    add_network(flags.add_argument_group("network"))
    _add_training(flags.add_argument_group("training"))
    return flags


def add_run(group) -> None:
    add_place(group)
    group.add_argument("--print_freq", type=positive_int, default=50, help="steps between redraws of the progress bar")
    group.add_argument(
        "--save_interval",
        type=number(float, "a number from 0 up", lambda value: 0 <= value < float("inf")),
        default=60.0,
        metavar="SECONDS",
        help="a killed run loses at most so many seconds of work, or the epoch it was in if that is longer; 0 saves "
        "after every epoch",
    )


def add_place(group) -> None:
    """Where a script works and writes, and where its chance comes from."""
    group.add_argument("--save_dir", type=path, required=True, help="directory for everything the run writes")
    group.add_argument(
        "--seed",
        type=count_from_0,
        default=0,
        help="initial weights, order and augmentation of examples follow from it",
    )
    add_gpu(group)
    group.add_argument(
        "--deterministic",
        action="store_true",
        help="CUDA: only kernels that always add up in the same order, so that a run that was killed and continued "
        "ends with the same bits as an unbroken one; slower. On a CPU it is always so",
    )


def add_gpu(group) -> None:
    group.add_argument(
        "--gpu",
        type=number(int, "the number of a CUDA device, or -1 for the CPU", lambda value: value >= -1),
        metavar="N",
        help="CUDA device to compute on, or -1 for the CPU. If not given: the first GPU that torch can use, else the "
        "CPU. A GPU that is asked for and cannot be used is an error",
    )


def _add_arithmetic(group) -> None:
    group.add_argument(
        "--precision",
        choices=("auto", "fp32", "tf32", "bf16"),
        default="auto",
        help="number format of the network's products: auto is tf32 on NVIDIA GPUs from compute capability 8.0 on, "
        "which tf32 and bf16 need, and fp32 elsewhere; bf16 is faster on GPUs and on CPUs with AVX512-BF16, and "
        "coarser",
    )
    group.add_argument(
        "--compile",
        choices=("auto", "on", "off"),
        default="auto",
        help="auto: on CUDA the whole step is one CUDA graph; on: the network is compiled by torch.compile, too, which "
        "takes up to a minute at the start; off: every operation on its own. What does not work, or computes "
        'something else, is not used: the log says so, and each round\'s "step" in summary.json says what was',
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write event files into SAVE_DIR/tensorboard (needs the package tensorboard)",
    )


def add_resuming(group) -> None:
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --save_dir (the same command without --resume does so, too)",
    )
    group.add_argument("--checkpoint", type=path, metavar="FILE", help="with --resume: the checkpoint to go on from")
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="start anew; the run in --save_dir is moved to SAVE_DIR.old, which replaces the one that an earlier "
        "--overwrite moved there",
    )


def add_data(group) -> None:
    group.add_argument("--data", type=path, default=None, help="directory of the data set; ./data if not given")
    group.add_argument(
        "--dataset", default=None, help=f"{', '.join(DATASETS)}; digits, which needs no files, if --data is not given"
    )
    group.add_argument(
        "--image_size", type=positive_int, help="imagefolder: scale and centre-crop to squares of this many pixels"
    )


def add_split(group) -> None:
    group.add_argument(
        "--split_file",
        type=path,
        metavar="FILE.npy",
        help="a permutation of (some) training examples: its first part trains, the rest validates "
        "(--val_fraction). Without it val/ validates in an image folder that has a test/, too; other data have the "
        "one shipped in npy_files/, or a stratified one made from the labels alone",
    )
    group.add_argument(
        "--val_fraction",
        type=number(float, "a number from 0 up, below 1", lambda value: 0 <= value < 1),
        default=0.1,
        help="share of the split that validates. With 0 all of it trains, the test accuracy is that of the last epoch, "
        "and whatever else goes by the best validation epoch goes by the last one",
    )


def add_network(group) -> None:
    group.add_argument(
        "--arch",
        default="res20s",
        help="res14s res20s res32s res44s res56s res110s (CIFAR form), each with _projection, too (1x1 convolutions as "
        "shortcuts, uniform batch norm scales, as in the elastic ticket paper), res18 res26 res34 res50, vgg11 vgg13 "
        "vgg16 vgg19 with and without _bn, vgg13_bn_2fc and the like (13, 16, 19; 2, 3, 5 linear layers), lenet300, "
        "mlp2 mlp3 mlp4; for a network of your own path/to/file.py:function, or package.module:function, looked for "
        "in the current directory first: a function of num_classes that returns the network",
    )
    add_stem(group)


def add_stem(group) -> None:
    group.add_argument(
        "--stem",
        choices=STEMS,
        default="imagenet",
        help="first layers of res18/26/34/50: 7x7 stride 2 and max-pool, or 3x3 stride 1",
    )


def add_batch_size(group, what: str) -> None:
    at_least_2 = number(int, "a whole number from 2 up, since batch norm needs two examples", lambda value: value >= 2)
    group.add_argument("--batch_size", type=at_least_2, default=128, help=what)


def _add_training(group) -> None:
    group.add_argument("--epochs", type=positive_int, default=182, help="epochs of a full training")
    add_batch_size(group, "examples per optimiser step")
    group.add_argument("--lr", type=positive, default=0.1, help="initial learning rate of SGD")
    group.add_argument(
        "--momentum", type=number(float, "in [0, 1)", lambda m: 0 <= m < 1), default=0.9, help="momentum of SGD"
    )
    group.add_argument("--weight_decay", type=not_negative, default=1e-4, help="weight decay, on every parameter")
    group.add_argument(
        "--no_augmentation", action="store_true", help="train on the images as they are: no random crops, no flips"
    )
    group.add_argument("--warmup", type=count_from_0, default=0, help="epochs of linear learning-rate warm-up")
    group.add_argument(
        "--decreasing_lr", type=milestones, default="91,136", metavar="91,136", help="epochs at which lr drops to 1/10"
    )


REWIND_EPOCH = 2
REWINDING = {
    "lt": "their initial values",
    "rewind_lt": "those after --rewind_epoch",
    "pt": "those of the trained dense network at its best validation epoch",
}


def add_pruning(flags: Parser, prune_types: tuple[str, ...]) -> None:
    """Iterative magnitude pruning and rewinding, with the given choices of `REWINDING`."""
    group = flags.add_argument_group("iterative magnitude pruning")
    group.add_argument(
        "--pruning_times", type=positive_int, default=16, help="rounds: trainings, each followed by a pruning"
    )
    group.add_argument("--rate", type=share, default=0.2, help="share of the kept weights that a round prunes")
    group.add_argument(
        "--prune_type",
        choices=prune_types,
        default="lt",
        help="what kept weights go back to: " + "; ".join(f"{name}: {REWINDING[name]}" for name in prune_types),
    )
    group.add_argument(
        "--rewind_epoch",
        type=count_from_0,
        help=f"rewind_lt: the (0-based) epoch after which the weights are kept for rewinding, so 2 is after 3 epochs "
        f"({REWIND_EPOCH} if neither it nor --rewind_iteration is given)",
    )
    group.add_argument(
        "--rewind_iteration",
        type=count_from_0,
        metavar="N",
        help="rewind_lt: instead, the optimiser steps of round 0 after which they are kept, in mid-epoch if need be",
    )
    group.add_argument(
        "--prune_classifier",
        action="store_true",
        help="prune the weights of the classifier, the layer that makes the logits, as well",
    )
    add_rewind_lr(group, "a round begins in the schedule where the weights it is rewound to stand")


def add_rewind_lr(group, what: str) -> None:
    group.add_argument(
        "--rewind_lr",
        action="store_true",
        help=f"{what}, with the learning rate, warm-up and order of examples of that step, instead of at its start",
    )


def add_order_seed(group) -> None:
    group.add_argument(
        "--order_seed",
        type=count_from_0,
        metavar="N",
        help="order and augmentation of examples, and dropout, follow from it instead of from --seed: another one with "
        "the same --seed is another data order from the same start, another --seed with the same one another start "
        "with the same data order",
    )


def add_ticket(group, dense: str) -> None:
    """A ticket from files; `dense` says what there is without."""
    group.add_argument(
        "--init_dir",
        type=path,
        metavar="FILE",
        help="starting weights: a checkpoint of a pruning script (its rewound weights), of main_elastic.py or of "
        "main_init.py, or epoch_3_rewind_weight.pt; random ones if not given",
    )
    group.add_argument(
        "--mask_dir",
        type=path,
        metavar="FILE",
        help=f"mask: a checkpoint of a pruning script, of main_elastic.py or of main_init.py; {dense} if not given",
    )
    group.add_argument(
        "--new_classifier",
        action="store_true",
        help="leave the ticket's classifier, the last linear layer, out: it starts dense, with random weights; "
        "for data with other classes",
    )


def add_early_stop(flags: Parser, eps: float | None) -> None:
    """The early-bird test; `eps` None leaves it off unless asked for."""
    group = flags.add_argument_group("early stop: end a round when the mask has settled")
    off = "" if eps else "; off if not given"
    group.add_argument(
        "--eb_eps",
        type=number(float, "a number above 0, at most 1", lambda value: 0 < value <= 1),
        default=eps,
        help="mask distance below which the mask counts as settled. Distances grow with the steps between two masks, "
        f"so small data needs a smaller one (0.01 to 0.03){off}",
    )
    if eps:
        group.add_argument("--no_early_stop", action="store_true", help="train every round to the end of its schedule")
    group.add_argument("--queue_length", type=positive_int, default=5, help="distances in a row that must be below it")
    group.add_argument(
        "--eb_interval",
        choices=("epoch", "steps"),
        default="epoch",
        help="compare masks after every epoch, or after as many steps as an epoch on all the data has, so that eps "
        "means the same on a small set; either way a round ends with a whole epoch",
    )
    group.add_argument(
        "--eb_arm",
        choices=("exceed", "none"),
        default="exceed",
        help="count distances from the first one above --eb_eps on, or from the start",
    )


def add_given_set(flags: Parser) -> None:
    """A search on examples that are given."""
    group = flags.add_argument_group("a given PrAC set, and epochs on any set")
    group.add_argument(
        "--prac_set",
        type=path,
        metavar="FILE|DIR",
        help="search on this set, found earlier with this or another architecture: the directory of a PrAC run (round "
        "k uses its round-k set), or a .npy file or checkpoint (its set from round 0 on). A checkpoint's set is "
        "refused on other data; a .npy file, which does not say on which it was found, is taken",
    )
    group.add_argument(
        "--prac_epochs",
        choices=("scaled", "fixed"),
        default="scaled",
        help="on a set P of the training split D0: epochs, milestones and warm-up times |P|/|D0|, or unchanged",
    )


# --- checks -----------------------------------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> None:
    """What can be said without data, network or torch; fills in --data and --dataset. InputError otherwise."""
    check_data(args)
    check_arch(args.arch, args.stem)
    check_save_dir(args.save_dir)
    check_files(args, *FILES)
    check_resuming(args)
    if args.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs a package that is not installed: pip install tensorboard")
    if args.warmup > args.epochs:
        raise InputError(f"--warmup {args.warmup} is longer than --epochs {args.epochs}")


def check_data(args: argparse.Namespace) -> None:
    """Which data set; fills in --data and --dataset where they are not given."""
    if args.data is not None and args.dataset is None:
        raise InputError(f"--data {args.data} without --dataset: say which one it is of {', '.join(DATASETS)}")
    args.dataset = args.dataset or "digits"
    args.data = args.data or Path("data")
    check_source(args.dataset, args.data, args.image_size)


def check_resuming(args: argparse.Namespace) -> None:
    """Whether to begin or to go on can be said in one way only."""
    check_files(args, "checkpoint")
    if args.checkpoint and not args.resume:
        raise InputError(f"--checkpoint {args.checkpoint} is read with --resume only: add it")
    if args.overwrite and args.resume:
        raise InputError("--overwrite starts anew and --resume goes on: give one of them")


def check_files(args: argparse.Namespace, *names: str) -> None:
    """InputError for one of these flags, where it is given, that names no file, or no directory if it is one of RUNS;
    --prac_set may name either."""
    for name in names:
        path = getattr(args, name, None)
        if path is not None and not path.exists():
            raise InputError(f"--{name} {path} does not exist")
        if path is not None and path.is_dir() and name not in ("prac_set", *RUNS):
            raise InputError(f"--{name} {path} is a directory, a file is needed")
        if path is not None and not path.is_dir() and name in RUNS:
            raise InputError(f"--{name} {path} is a file, the directory of a PrAC run is needed")


def check_save_dir(path: Path) -> None:
    check_directory("--save_dir", path)


def check_directory(flag: str, path: Path) -> None:
    """It, or the nearest directory above it that is there, must be one that can be written."""
    if any(letter < " " or letter == "\x7f" for letter in str(path)):
        raise InputError(f"{flag} {str(path)!r} has a line break or another control character in its name")
    try:
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        for longer in (path / LONGEST_NAME, Path(f"{path.absolute()}{LONGEST_ENDING}")):
            with suppress(FileNotFoundError, NotADirectoryError):
                longer.stat()  # or the system says that it is too long, which `exists` hides from Python 3.14 on
    except OSError as error:
        shown = str(path) if len(str(path)) < SHOWN else f"{str(path)[:SHOWN]}…"
        raise InputError(f"{flag} {shown} cannot be used: {error.strerror}") from None
    if not there.is_dir():
        raise InputError(f"{flag} {path} cannot be a directory: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
        reason = f"the file system of {there} is read-only" if read_only else f"no permission in {there}"
        raise InputError(f"{flag} {path} cannot be written: {reason}")


def check_pruning(args: argparse.Namespace) -> None:
    """The checks of both pruning scripts."""
    check(args)
    if args.rewind_epoch is not None and args.rewind_iteration is not None:
        raise InputError("--rewind_epoch and --rewind_iteration both say where to rewind to: give one of them")
    if args.rewind_epoch is None and args.rewind_iteration is None:
        args.rewind_epoch = REWIND_EPOCH
    if args.prune_type == "rewind_lt" and args.rewind_epoch is not None and args.rewind_epoch >= args.epochs:
        raise InputError(f"--rewind_epoch must be smaller than --epochs {args.epochs}, got {args.rewind_epoch}")
    if args.rewind_lr and args.prune_type == "pt":
        raise InputError(
            "--rewind_lr needs --prune_type lt or rewind_lt: with pt weights go back to the end of training"
        )
    if args.rewind_lr and args.prune_type == "lt" and not args.init_dir:
        raise InputError("--rewind_lr goes with --prune_type rewind_lt, or with lt from --init_dir; got lt")
    check_ticket(args)


def check_ticket(args: argparse.Namespace) -> None:
    """InputError for flags that say something about a ticket where none is given."""
    if args.new_classifier and not (args.init_dir or args.mask_dir):
        raise InputError("--new_classifier is about a ticket: give --init_dir, --mask_dir or both")


def settings(args: argparse.Namespace, script: str, contents: dict[str, str]) -> dict:
    """What decides a run's results: every flag that does, and checksums of the `contents` it was given.

    Written into each checkpoint; a command goes on with a run only if they are equal.
    """
    flags = {name: value for name, value in vars(args).items() if name not in {*NOT_RESULTS, *FILES}}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()}
    given = {name: getattr(args, name) is not None for name in FILES if name in vars(args) and name != "split_file"}
    return {"script": script, **plain, **given, **contents}


def about(args: argparse.Namespace, script: str) -> dict:
    """What a record of the run says beside its settings: the command, and where the data lay."""
    return {"command": command(args, script), "data": str(args.data)}


def command(args: argparse.Namespace, script: str) -> str:
    """The command as it was given, in words a shell takes."""
    return shlex.join(["python", script, *args.command_line])
