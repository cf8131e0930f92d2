"""Checks of flags that need no data, network or torch: done before anything heavy is imported or any work begun."""

import argparse
import importlib.util
import os
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from lottery.cli.reading_flags import check_reading
from lottery.cli.shards import check_shards
from lottery.formats.registry import folder_format
from lottery.readers.registry import DATA, DATASETS, check_source
from lottery.search.config import PRUNING_TIMES, RATE
from lottery.tickets.config import REWIND_EPOCH
from lottery.training.recipe import BATCH_SELECTIONS, DEFAULT_LR, SELECTION_RATE, SELECTION_UNTIL, Recipe
from models import check_arch
from utils import InputError, path_exists, short_path

FILES = ("split_file", "prac_set", "init_dir", "mask_dir", "like", "like_run", "steps_of")  # flags that name files
RUNS = ("like_run", "steps_of")  # those of them that name a run's directory
# Of names around that of a directory: of a file in it while it is written, and what its old run's has in addition.
LONGEST_NAME, LONGEST_ENDING = 60 * "x", ".old.moving"


def check(args: argparse.Namespace, made_later: Container[str] = ()) -> None:
    """What can be said without data, network or torch; fills in --data and --dataset. InputError otherwise.

    Flags that are `made_later` name files that an earlier run of a study is still to make: they are not looked for.
    """
    check_data(args)
    check_arch(args.arch, args.stem)
    check_save_dir(args.save_dir)
    check_files(args, *(name for name in FILES if name not in made_later))
    check_resuming(args)
    if args.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs a package that is not installed: pip install tensorboard")
    check_recipe(args)
    check_batch_selection(args)
    check_shards(args)


def check_data(args: argparse.Namespace) -> None:
    """Which data set; fills in --data and --dataset where they are not given."""
    if args.data is not None and args.dataset is None:
        raise InputError(f"--data {args.data} without --dataset: say which one it is of {', '.join(DATASETS)}")
    args.dataset = args.dataset or "digits"
    check_source(args.dataset, args.data, args.image_size)
    check_reading(args)
    if args.dataset in DATASETS:  # a function of the user's may have a default of its own
        args.data = args.data or DATA


def check_recipe(args: argparse.Namespace) -> None:
    """Optimiser and schedule; fills in --lr, --decreasing_lr and --gamma where they are not given, and the notes on
    flags."""
    if args.warmup > args.epochs:
        raise InputError(f"--warmup {args.warmup} is longer than --epochs {args.epochs}")
    if args.nesterov and args.optimizer != "sgd":
        raise InputError(f"--nesterov is a momentum of SGD, got --optimizer {args.optimizer} beside it")
    if args.nesterov and not args.momentum:
        raise InputError("--nesterov needs --momentum above 0, got 0")
    if args.lr is None:
        args.lr = DEFAULT_LR[args.optimizer]
    if args.decreasing_lr is None:
        args.decreasing_lr = Recipe.milestones if args.schedule == "step" else ()
    args.notes += _drops_notes(args)
    if args.gamma is None:
        args.gamma = Recipe.gamma


def _drops_notes(args: argparse.Namespace) -> tuple[str, ...]:
    """A note on epochs that a schedule without drops ignores; InputError for a --gamma where nothing drops."""
    falls = f"the learning rate falls by --schedule {args.schedule}"
    if args.gamma is not None and args.schedule != "step":
        raise InputError(f"--gamma {args.gamma} is the factor of --schedule step, but {falls}: give one of them")
    if args.gamma is not None and not args.decreasing_lr:
        raise InputError(f"--gamma {args.gamma} is the factor at each epoch of --decreasing_lr, which has none")
    if args.decreasing_lr and args.schedule != "step":
        return (f"--decreasing_lr {','.join(map(str, args.decreasing_lr))} has no effect: {falls}",)
    return ()


def check_batch_selection(args: argparse.Namespace) -> None:
    """Its numbers go with it; fills them in, where the script has them."""
    if "batch_selection" not in args:
        return
    numbers = {"selection_rate": SELECTION_RATE, "selection_until": SELECTION_UNTIL}
    given = [f"--{name}" for name in numbers if getattr(args, name) is not None]
    if given and not args.batch_selection:
        raise InputError(f"{' and '.join(given)} {'say' if len(given) > 1 else 'says'} how batches are selected: give "
                         f"--batch_selection {BATCH_SELECTIONS[0]}, too")  # fmt: skip
    for name, default in numbers.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    if args.batch_selection and args.selection_until * args.epochs <= 1:
        raise InputError(
            f"--selection_until {args.selection_until} of {args.epochs} epochs ends the selection of batches with the "
            "first one, which is always whole: nothing would be left out. Give a larger fraction, or more epochs"
        )
    if args.batch_selection and getattr(args, "eb_interval", None) == "steps":
        raise InputError(
            "--eb_interval steps counts the steps of whole epochs, of which --batch_selection leaves some out: give "
            "--eb_interval epoch"
        )


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
        if path is not None and not path_exists(f"--{name}", path):
            raise InputError(f"--{name} {path} does not exist")
        if path is not None and path.is_dir() and name not in ("prac_set", *RUNS) and not folder_format(path):
            raise InputError(f"--{name} {path} is a directory, a file is needed")
        if path is not None and not path.is_dir() and name in RUNS:
            raise InputError(f"--{name} {path} is a file, the directory of a PrAC run is needed")


def check_save_dir(path: Path) -> None:
    check_directory("--save_dir", path)


def check_parent(flag: str, file: Path) -> None:
    """InputError unless the file that a flag names can be written where it is to be."""
    if not path_exists(flag, file) and not file.absolute().parent.is_dir():
        raise InputError(f"{flag} {file} cannot be written: its directory does not exist")
    check_directory(flag, file.absolute().parent)


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
        raise InputError(f"{flag} {short_path(path)} cannot be used: {error.strerror}") from None
    if not there.is_dir():
        raise InputError(f"{flag} {path} cannot be a directory: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
        reason = f"the file system of {there} is read-only" if read_only else f"no permission in {there}"
        raise InputError(f"{flag} {path} cannot be written: {reason}")


def check_pruning(args: argparse.Namespace, made_later: Container[str] = ()) -> None:
    """The checks of both pruning scripts; fills in --pruning_times, --rate and --rewind_epoch."""
    check(args, made_later)
    check_rounds(args)
    if args.pattern and args.prune_also:
        raise InputError(
            f"--pattern {args.pattern} is for Conv2d and Linear layers, --prune_also adds weights of others: give one"
        )
    check_rewinding(args)
    if args.rewind_lr and args.prune_type == "pt":
        raise InputError(
            "--rewind_lr needs --prune_type lt or rewind_lt: with pt weights go back to the end of training"
        )
    if args.rewind_lr and args.prune_type == "lt" and not args.init_dir:
        raise InputError("--rewind_lr goes with --prune_type rewind_lt, or with lt from --init_dir; got lt")
    check_ticket(args)


def check_rewinding(args: argparse.Namespace) -> None:
    """Where the weights stand that tickets are rewound to is said in one way; fills in --rewind_epoch."""
    if args.rewind_epoch is not None and args.rewind_iteration is not None:
        raise InputError("--rewind_epoch and --rewind_iteration both say where to rewind to: give one of them")
    if args.rewind_epoch is None and args.rewind_iteration is None:
        args.rewind_epoch = REWIND_EPOCH
    if args.prune_type == "rewind_lt" and args.rewind_epoch is not None and args.rewind_epoch >= args.epochs:
        raise InputError(f"--rewind_epoch must be smaller than --epochs {args.epochs}, got {args.rewind_epoch}")


def check_rounds(args: argparse.Namespace) -> None:
    """How many rounds there are, and how much each prunes, is said in one way; fills in --pruning_times and --rate."""
    check_pattern(args)
    rivals = [f"--{name}" for name in ("pruning_times", "rate") if getattr(args, name) is not None]
    if args.densities and rivals:
        raise InputError(
            f"--densities says how many rounds there are and how much each prunes, {' and '.join(rivals)} "
            f"{'say' if len(rivals) > 1 else 'says'} so, too: give one or the other"
        )
    if args.pattern:
        args.pruning_times = 1
    elif args.densities:
        args.pruning_times = len(args.densities)
    else:
        args.pruning_times = args.pruning_times or PRUNING_TIMES
        args.rate = args.rate or RATE


def check_pattern(args: argparse.Namespace) -> None:
    """With an N:M pattern nothing else says how much is pruned, or that something is pruned already."""
    others = {"rate": args.rate, "densities": args.densities, "pruning_times": args.pruning_times not in (None, 1)}
    rivals = [f"--{name}" for name, given in others.items() if given]
    if args.pattern and rivals:
        raise InputError(
            f"--pattern {args.pattern} is one pruning, to that share of each layer, {' and '.join(rivals)} "
            f"{'say' if len(rivals) > 1 else 'says'} otherwise: give one or the other"
        )
    if args.pattern and args.mask_dir:
        raise InputError(
            f"--pattern {args.pattern} prunes a dense network, --mask_dir begins with a mask: give one of them"
        )


def check_ticket(args: argparse.Namespace) -> None:
    """InputError for flags that say something about a ticket where none is given, and for two kinds of weights."""
    check_files(args, "weights")
    if args.weights and args.init_dir:
        raise InputError(
            "--weights are pre-trained, --init_dir those of a ticket, and a training starts from one of them: give one"
        )
    if args.new_classifier and not (args.init_dir or args.mask_dir or args.weights):
        raise InputError("--new_classifier is about a ticket: give --init_dir, --mask_dir or both, or --weights")
