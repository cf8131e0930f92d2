"""Which module of this package parses the flags of which script."""

from argparse import Namespace
from collections.abc import Container, Sequence
from types import ModuleType

from lottery.checkpointing.script_names import Script
from lottery.cli import (
    channels,
    convert,
    dst,
    elastic,
    greedy,
    imp,
    init,
    prac_imp,
    report,
    robustness,
    stability,
    study,
    train,
    verify,
)

MODULES: dict[str, ModuleType] = {
    Script.IMP: imp,
    Script.PRAC_IMP: prac_imp,
    Script.TRAIN: train,
    Script.DST: dst,
    Script.INIT: init,
    Script.ELASTIC: elastic,
    Script.STABILITY: stability,
    Script.ROBUSTNESS: robustness,
    Script.GREEDY: greedy,
    Script.CHANNELS: channels,
    "study.py": study,
    "report.py": report,
    "verify.py": verify,
    "convert.py": convert,
}


def cli_module(script: str) -> ModuleType:
    """The module with a script's `parser`."""
    return MODULES[script]


def read_flags(script: str, argv: Sequence[str], made_later: Container[str] = ()) -> Namespace:
    """The flags of a script that can be part of a study; InputError for what it would refuse before any work. Files
    that flags `made_later` name need not exist yet."""
    return cli_module(script).read_flags(argv, made_later)


def flag_names(script: str) -> set[str]:
    """The names of a script's flags, without their dashes; none of benchmarks and stress tests, which run in the same
    way."""
    return cli_module(script).parser().flag_names if script in MODULES else set()
