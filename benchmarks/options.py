"""Flags that list names."""

from collections.abc import Sequence

from utils import InputError


def names(text: str) -> tuple[str, ...]:
    """'a,b' -> ("a", "b")."""
    return tuple(filter(None, text.split(",")))


def check_names(chosen: Sequence[str], known: Sequence[str], flag: str) -> None:
    """InputError for a name that is not known, or none at all."""
    if not chosen:
        raise InputError(f"{flag} needs at least one of {', '.join(known)}")
    for name in chosen:
        if name not in known:
            raise InputError(f"{flag} takes {', '.join(known)}, got {name!r}")
