"""An argument parser in the manner of this suite: errors are `InputError`, help ends each flag with its default."""

import argparse
import sys
from collections.abc import Sequence

from utils import InputError


class Parser(argparse.ArgumentParser):
    """argparse whose errors are our InputError: one sentence, status 2."""

    def __init__(self, doc: str):
        super().__init__(description=doc, formatter_class=Formatter, allow_abbrev=False)

    def parse_args(  # type: ignore[override]  # argparse's also takes other kinds of namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As ever; `command_line` is what was given."""
        found = super().parse_args(args, namespace)
        found.command_line = list(sys.argv[1:] if args is None else args)
        return found

    @property
    def flag_names(self) -> set[str]:
        """The names of all flags and arguments, without their dashes."""
        return {action.dest for action in self._actions}

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
