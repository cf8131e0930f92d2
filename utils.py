"""Errors a user can act on, random streams, and a few helpers that every layer uses."""

import difflib
import os
import random
import re
import tomllib
import zlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path

import numpy as np


class InputError(ValueError):
    """The user asked for something impossible; the message names what was given and what is allowed."""


class RunError(RuntimeError):
    """A run that has begun cannot continue; what it found so far is on disk."""


OUT_OF_MEMORY_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "could not create a primitive",
    "STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "NOT_INITIALIZED when calling `cublasCreate",  # cuBLAS has no message of its own for a full GPU
    "failed to map segment",  # of a library that is imported late
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch, a library of its or the loader ran out of memory; most say so only in their message."""
    return isinstance(error, MemoryError) or any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES)


def read_toml(path: Path) -> dict:
    """The contents of a TOML file; InputError if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from None


def expand_home(path: str | Path) -> Path:
    """A path, ~ at its beginning being the user's home, as a shell has it: ./~ and ~nobody are files of that name.

    These come in full, since the Path of ./~ is ~, and would be the home when it is expanded once more.
    """
    found = Path(os.path.expanduser(path))  # noqa: PTH111 (that of Path takes ./~ for the home, and fails for ~nobody)
    return Path.cwd() / found if str(found).startswith("~") else found


def path_exists(flag: str, path: Path) -> bool:
    """Whether there is a file or directory; InputError where the system cannot tell, such as for too long a name."""
    try:
        return path.exists()
    except OSError as error:
        raise InputError(f"{flag} {short_path(path)} cannot be used: {error.strerror}") from None


def short_path(path: Path, letters: int = 80) -> str:
    """A path for an error, cut where it is too long to be read."""
    return str(path) if len(str(path)) < letters else f"{str(path)[:letters]}…"


def listed(names: Sequence, shown: int = 3) -> str:
    """'a, b, c and 2 more': the first names of a list, for a note or an error."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(str, names[:shown])) + more


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """The one of the names that is misspelled, as the end of an error, "; did you mean res20s?"; nothing if none is
    near. Case, "-" and "_" do not count. Another first letter or number is taken for another thing, such as kmnist for
    mnist, no_report for report, lenet5 for lenet300: a suggestion of something else is worse than none."""
    spelled = {_plain(other): other for other in names if not _numbers(name) or _numbers(other) <= _numbers(name)}
    plain = _plain(name)
    alike = [other for other in spelled if other[:1] == plain[:1]]
    same_letters = [other for other in alike if _letters(other) == _letters(plain)]
    near = same_letters or difflib.get_close_matches(plain, alike, n=1, cutoff=0.82)
    return f"; did you mean {prefix}{spelled[near[0]]}?" if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _letters(plain: str) -> list[str]:
    return sorted(plain.replace("_", ""))


def _numbers(name: str) -> set[str]:
    return set(re.findall(r"\d+", name))


def one_line(error: BaseException) -> str:
    """The error's type and the first line of its message."""
    message = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


# --- randomness -------------------------------------------------------------------------------------------------------


class RandomStream(IntEnum):
    """What random numbers are drawn for. Each purpose has a stream of its own, so that no draw shifts another.

    The values are part of every result: never change or reuse one.
    """

    EPOCH = 0  # order and augmentation of an epoch's examples
    INITIAL_WEIGHTS = 1
    RANDOM_PRUNE = 2
    RANDOM_SET = 3
    NETWORK = 4  # dropout and other draws of the network itself
    FRESH_WEIGHTS = 5  # of the control that re-initialises a ticket
    RANDOM_MASK = 6
    SCORED_EXAMPLES = 7  # that pruning at initialisation scores weights on
    RANDOM_SCORES = 8
    CHANNELS = 9
    CONTROL_SETS = 10
    RANDOM_CHANNELS = 11
    ORDER_SEEDS = 12  # of the two copies in a stability analysis
    STATISTICS = 13  # examples that batch norm statistics are measured on
    ATTACKS = 14
    BATCH_SELECTION = 15  # which examples an epoch leaves out
    COVERAGE = 16  # examples of each stratum of difficulty
    GROWN_WEIGHTS = 17  # that sparse evolutionary training grows; its epoch is the step
    IMAGE_VIEWS = 18  # crop and flip of each image that is read from a file
    BASIS = 25  # the rotation of each layer and axis in a random basis


def generator(
    seed: int,
    round: int = 0,
    epoch: int = 0,
    purpose: RandomStream = RandomStream.EPOCH,
    example: int | None = None,
) -> np.random.Generator:
    """The generator of one (seed, round, epoch) and purpose, or of one example of these.

    Every draw is a pure function of these, so a resumed run needs no generator state.
    """
    key = (int(purpose),) if example is None else (int(purpose), example)
    return np.random.default_rng(np.random.SeedSequence([seed, round, epoch], spawn_key=key))


def torch_seed(seed: int, round: int = 0, epoch: int = 0, purpose: RandomStream = RandomStream.NETWORK) -> int:
    """A seed for torch's global generator, which initialisation and dropout draw from."""
    return int(generator(seed, round, epoch, purpose).integers(2**62))


def seed_generators(seed: int) -> None:
    """Seed torch's generators and the global ones of Python and NumPy: a user's network may draw from any of them."""
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002, for networks that draw from it; nothing of ours does


def digest(*arrays: np.ndarray) -> str:
    """A CRC-32 of arrays, as hex: equal for runs that saw the same data, split or set."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(repr((array.shape, array.dtype.str)).encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, crc)
    return f"{crc:08x}"
