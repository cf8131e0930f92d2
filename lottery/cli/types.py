"""What a flag's value may be: types for argparse, whose messages say what is allowed and what came."""

import argparse
from collections.abc import Callable
from pathlib import Path

from lottery.patterns import ALLOWED, Pattern
from utils import expand_home


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


def densities(text: str) -> tuple[float, ...]:
    """An argparse type: densities between 0 and 1 with commas between, each below the one before."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    falling = list(values) == sorted(set(values), reverse=True)
    if not values or not falling or not all(0 < value < 1 for value in values):
        raise argparse.ArgumentTypeError(
            f"must be densities between 0 and 1 in falling order, such as 0.64,0.26,0.07, got {text!r}"
        )
    return values


def pattern(text: str) -> str:
    """An argparse type: an N:M pattern, '2:4'."""
    try:
        return str(Pattern.parse(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {ALLOWED}, got {text!r}") from None


def path(text: str) -> Path:
    """A path, ~ being the user's home, which a shell does not know within --flag=~/x; the empty one, an unset shell
    variable, would be the current directory."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got nothing")
    return expand_home(text)


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
