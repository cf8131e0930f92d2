"""The command that trains a found ticket, made of the command that found it."""

import sys
from argparse import Namespace
from pathlib import Path

from lottery.checkpointing.script_names import Script
from lottery.cli import train
from lottery.cli.parser import Parser

# Flags of main_train.py, too, that are another run's own, or would not train the ticket by the whole schedule on all
# the data, which is what a search's costs are counted with.
OTHERWISE = {
    *("save_dir", "init_dir", "mask_dir", "weights", "new_classifier", "resume", "checkpoint", "overwrite", "version"),
    *("batch_selection", "selection_rate", "selection_until"),
}


def with_retraining(args: Namespace, parser: Parser) -> Namespace:
    """The flags of a script that finds tickets, with the words that train one under its data, network and recipe."""
    kept = train.parser().flag_names - OTHERWISE
    if whole := getattr(args, "vanilla_epochs", None):
        kept -= {"epochs"}
    words = words_of(kept, args.command_line, parser) + (["--epochs", str(whole)] if whole else [])
    return Namespace(**vars(args), retraining=("python", train_script(), *words))


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
