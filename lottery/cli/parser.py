"""An argument parser in the manner of this suite: errors are `InputError`, help ends each flag with its default."""

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence

from lottery.checkpointing.version import suite_version
from lottery.cli.foreign_flags import complement, same_flag
from utils import InputError, did_you_mean

GLUE = "\0"  # a space at which no line is broken
LONGEST = 120  # columns of help, which is not easier to read on a wider terminal


class UnknownFlag(InputError):
    """A flag that the script does not have, and what the script has instead."""

    def __init__(self, flag: str, instead: str):
        super().__init__(f"unknown flag {flag}{instead}")
        self.flag, self.instead = flag, instead


class Parser(argparse.ArgumentParser):
    """argparse whose errors are our InputError: one sentence, status 2."""

    def __init__(self, doc: str):
        super().__init__(description=doc, formatter_class=Formatter, allow_abbrev=False)
        self.add_argument("--version", action=Version, help="print the version of the suite, and the commit, and exit")

    def parse_args(  # type: ignore[override]  # argparse's also takes other kinds of namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As ever, but unknown flags come before all other errors. `command_line` is what was given; `notes` are what a
        user should know about it, which the checks of the flags fill."""
        words = list(sys.argv[1:] if args is None else args)
        for flag in self.unknown_flags(words):
            raise UnknownFlag(flag, self.instead_of(flag))
        found = super().parse_args(words, namespace)
        found.command_line, found.notes = words, ()
        return found

    @property
    def flag_names(self) -> set[str]:
        """The names of all flags and arguments, without their dashes."""
        return {action.dest for action in self._actions}

    def flag(self, word: str) -> argparse.Action | None:
        """The flag that a word of a command names, with or without a value behind =; None for any other word."""
        return self._option_string_actions.get(word.partition("=")[0])

    def given(self, words: Sequence[str]) -> set[str]:
        """The names of the flags that a command gives."""
        return {action.dest for word in words if (action := self.flag(word))}

    def unknown_flags(self, words: Sequence[str]) -> list[str]:
        """The words that argparse takes for flags and does not know."""
        before = words[: words.index("--")] if "--" in words else words
        flags = [word.partition("=")[0] for word in before if re.match(r"--?[^\W\d]", word) and " " not in word]
        return [flag for flag in flags if flag not in self._option_string_actions]

    def instead_of(self, flag: str) -> str:
        """The flag of this script that may be meant, for the end of an error: the same one under the name it has in
        other tools, or one that is spelled nearly so."""
        name = flag.lstrip("-").replace("-", "_")
        known = {option.removeprefix("--") for option in self._option_string_actions if option.startswith("--")}
        if meant := name if name in known else same_flag(name, known):
            return f"; did you mean --{meant}?"
        if density := complement(name, known):
            return f"; --{density} is one minus the sparsity"
        return did_you_mean(name, sorted(known), "--")

    def error(self, message: str):
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            message = f"{missing} must be given, --help explains it"
        raise InputError(message.replace("argument --", "--"))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """argparse's, with the choice that is spelled nearly so."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise


class Version(argparse.Action):
    """Prints the version, which is only found out when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str):
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_) -> None:
        print(suite_version())
        parser.exit()


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, that ends each flag with its default, if it has one to tell."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30)
        self._width = min(self._width, LONGEST)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """The script's own paragraphs; commands are the indented ones."""
        paragraphs = textwrap.dedent(text).strip().split("\n\n")
        return "\n\n".join(
            wrapped_command(part, width) if part.startswith(" ") else textwrap.fill(" ".join(part.split()), width)
            for part in paragraphs
        )

    def _split_lines(self, text: str, width: int) -> list[str]:
        """argparse's, but names such as fashion-mnist stay whole."""
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _get_help_string(self, action: argparse.Action) -> str:
        silent = any(action.default is value for value in (None, False, argparse.SUPPRESS))  # but 0 is told
        telling = action.option_strings and not silent
        return f"{action.help} (default: %(default)s)" if telling else action.help


def wrapped_command(command: str, width: int) -> str:
    """A command over as many lines as it needs, which a shell takes as one."""
    words = command.replace("\\\n", " ").split()
    together = re.sub(r"( -\S+) (?!-)", rf"\1{GLUE}", " ".join(words))  # a flag and its value
    lines = textwrap.wrap(together, width - 10, break_long_words=False, break_on_hyphens=False)
    return "    " + " \\\n        ".join(lines).replace(GLUE, " ")
