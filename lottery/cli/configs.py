"""Convert parsed flags into the frozen dataclasses that the library takes.

The dataclasses live beside what consumes them (lottery/*/config.py and checkpointing/run_settings.py); their fields
have the names of the flags. Nothing below lottery/cli/ sees a Namespace.
"""

import shlex
from argparse import Namespace
from dataclasses import fields
from typing import Any, TypeVar

from lottery.bases.config import BasisConfig
from lottery.checkpointing.run_settings import RunConfig
from lottery.retraining.config import TicketTrainingConfig
from lottery.search.config import EarlyStopConfig, PruningConfig, SearchConfig
from lottery.tickets.config import TicketConfig
from lottery.training.config import ArithmeticConfig, DataConfig, DeviceConfig, ModelConfig, TrainingConfig
from lottery.training.recipe import Recipe

Config = TypeVar("Config")
Search = TypeVar("Search", bound=SearchConfig)
Training = TypeVar("Training", bound=TicketTrainingConfig)


def command(args: Namespace, script: str) -> str:
    """The command as it was given, in words that a shell takes."""
    return shlex.join(["python", script, *args.command_line])


def from_flags(kind: type[Config], args: Namespace, **others: Any) -> Config:
    """A dataclass whose fields are the flags of their names; `others` are fields that no flag is for. Fields of neither
    keep their defaults."""
    given = vars(args)
    named = {each.name: given[each.name] for each in fields(kind) if each.name in given}  # type: ignore[arg-type]
    return kind(**named | others)


def run_config(args: Namespace, script: str) -> RunConfig:
    return from_flags(RunConfig, args, script=script, command=command(args, script))


def recipe(args: Namespace) -> Recipe:
    return from_flags(Recipe, args, milestones=args.decreasing_lr)


def training_config(args: Namespace, script: str) -> TrainingConfig:
    """Of the flags that every script that trains has (`flags.parser`)."""
    return TrainingConfig(
        run=run_config(args, script),
        device=from_flags(DeviceConfig, args),
        arithmetic=from_flags(ArithmeticConfig, args),
        data=from_flags(DataConfig, args),
        model=from_flags(ModelConfig, args),
        recipe=recipe(args),
    )


def ticket_config(args: Namespace) -> TicketConfig:
    return from_flags(TicketConfig, args)


def search_config(kind: type[Search], args: Namespace, script: str) -> Search:
    """Of either pruning script: an `ImpConfig` or a `PracConfig`."""
    return from_flags(
        kind,
        args,
        training=training_config(args, script),
        ticket=ticket_config(args),
        pruning=from_flags(PruningConfig, args),
        basis=from_flags(BasisConfig, args),
        early_stop=from_flags(EarlyStopConfig, args),
    )


def ticket_training_config(kind: type[Training], args: Namespace, script: str) -> Training:
    """Of the flags of `train.training_parser`."""
    return from_flags(kind, args, training=training_config(args, script), ticket=ticket_config(args))
