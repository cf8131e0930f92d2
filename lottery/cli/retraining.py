"""The command that trains a found ticket, made of the command that found it."""

import sys
from argparse import Namespace
from pathlib import Path

from lottery.checkpointing.script_names import Script
from lottery.cli import train
from lottery.cli.configs import recipe
from lottery.cli.parser import Parser

# Flags of main_train.py, too, that are another run's own, or would not train the ticket by the whole schedule on all
# the data, which is what a search's costs are counted with.
OTHERWISE = {
    *("save_dir", "init_dir", "mask_dir", "weights", "new_classifier", "resume", "checkpoint", "overwrite", "version"),
    *("batch_selection", "selection_rate", "selection_until", "rewind_lr"),
}
OF_LENGTH = {"epochs", "decreasing_lr", "warmup"}


def with_retraining(args: Namespace, parser: Parser) -> Namespace:
    """The flags of a script that finds tickets, with the words that train one under its data, network and recipe."""
    kept = train.parser().flag_names - OTHERWISE
    if "epochs" not in parser.flag_names:
        kept -= {"batch_size"}  # of main_init.py, which trains nothing: the examples that are scored at a time
    whole = getattr(args, "vanilla_epochs", None)
    words = words_of(kept - (OF_LENGTH if whole else set()), args.command_line, parser)
    words += longer(args, whole, parser) if whole else []
    return Namespace(**vars(args), retraining=("python", train_script(), *words))


def longer(args: Namespace, epochs: int, parser: Parser) -> list[str]:
    """The words for so many epochs; milestones and a warm-up that were given stand at the same shares of these."""
    scaled = recipe(args).scaled(epochs, args.epochs)
    given = parser.given(words_of({"decreasing_lr", "warmup"}, args.command_line, parser))
    milestones = [f"--decreasing_lr={','.join(map(str, scaled.milestones))}"] if "decreasing_lr" in given else []
    warmup = [f"--warmup={scaled.warmup}"] if "warmup" in given else []
    return ["--epochs", str(epochs), *milestones, *warmup]


def train_script() -> str:
    """main_train.py beside the script that runs."""
    running = Path(sys.argv[0])
    name = str(Script.TRAIN)
    return str(running.with_name(name)) if Script.named(running.name) else name


def words_of(flags: set[str], words: list[str], parser: Parser) -> list[str]:
    """The words of a command that give these flags, each with its values."""
    found, keeps = [], False
    for word in words:
        if action := parser.flag(word):
            keeps = action.dest in flags
        if keeps:
            found.append(word)
    return found
