"""What every script needs around its work: errors a user can act on, exit statuses, where chance comes from."""

import random
import shlex
import sys
import tomllib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lottery.checkpointing.signals import Interrupted, interruptible

OUT_OF_MEMORY = "A smaller --batch_size needs less, and so does --precision bf16"


class InputError(ValueError):
    """The user asked for something that cannot be done; the message names what came and what is allowed."""


class RunError(RuntimeError):
    """A run that had begun cannot go on; what it found so far is on disk."""


def run_script(
    work: Callable[[Sequence[str] | None], None],
    name: str,
    argv: Sequence[str] | None,
    goes_on: bool = True,
    out_of_memory: str = OUT_OF_MEMORY,
) -> int:
    """Do a script's work on its arguments, those of the command line if None; its exit status.

    0 done; 2 bad input; 1 a run that could not go on; 130 or 143 ended by SIGINT or SIGTERM, then with the command
    that goes on where it was, if the script `goes_on`. `out_of_memory` says what then needs less.
    """
    _Done.overwrite = False
    try:
        with interruptible():
            work(argv)
    except InputError as error:
        return complain(name, f"error: {error}", 2)
    except (RunError, OSError) as error:
        return complain(name, f"error: {error}", 1)
    except Interrupted as signal:
        again = f"; what it found is kept. To go on: {command_again(name, argv)}" if goes_on else ""
        return complain(name, f"{signal}{again}", signal.status)
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        return complain(name, f"error: out of memory; what was written is kept. {out_of_memory}", 1)
    return 0


WORDS_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "could not create a primitive",
    "STATUS_ALLOC_FAILED",  # cuBLAS's and cuDNN's
    "NOT_INITIALIZED when calling `cublasCreate",  # which has no word of its own for a GPU that is full
    "failed to map segment",  # of a library that is imported late
)


def is_out_of_memory(error: Exception) -> bool:
    """Python's, torch's, its libraries' or the loader's: all but the first are told by their words."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in WORDS_OF_MEMORY)


def command_again(name: str, argv: Sequence[str] | None) -> str:
    """The command that goes on with what this one began."""
    script, given = (sys.argv[0], sys.argv[1:]) if argv is None else (name, argv)
    return shlex.join(["python", script, *(flag for flag in given if flag != "--overwrite" or not _Done.overwrite)])


class _Done:
    """What a script has done that its command is not to do again when it goes on."""

    overwrite = False  # the run that was there is moved aside


def overwrite_done() -> None:
    """From now on --overwrite has done its work."""
    _Done.overwrite = True


def complain(name: str, message: str, status: int) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return status


def read_toml(path: Path) -> dict:
    """What a TOML file holds; InputError for one that is none, or cannot be read."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from None


def listed(names: Sequence, shown: int = 3) -> str:
    """'a, b, c and 2 more': the first names of a list, for a note or an error."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(str, names[:shown])) + more


# Purposes for which chance is drawn; each has a stream of its own, so that no choice of one shifts another.
(EPOCH, INITIAL_WEIGHTS, RANDOM_PRUNE, RANDOM_SET, NETWORK, FRESH_WEIGHTS, RANDOM_MASK, SCORED_EXAMPLES,
 RANDOM_SCORES, CHANNELS, OTHER_MEMBERS, RANDOM_CHANNELS, ORDERS, STATISTICS, ATTACKS) = range(15)  # fmt: skip


def generator(seed: int, round: int = 0, epoch: int = 0, purpose: int = EPOCH) -> np.random.Generator:
    """The generator of one (seed, round, epoch): chance is a pure function of these, so a resumed run needs no
    generator state."""
    return np.random.default_rng(np.random.SeedSequence([seed, round, epoch], spawn_key=(purpose,)))


def torch_seed(seed: int, round: int = 0, epoch: int = 0, purpose: int = NETWORK) -> int:
    """A seed for torch's own generator, which a network with dropout draws from."""
    return int(generator(seed, round, epoch, purpose).integers(2**62))


def seed_generators(seed: int) -> None:
    """Seed torch's generators, Python's and NumPy's global one: a user's network may draw from any of them."""
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002, for networks that draw from it; nothing of ours does


def digest(*arrays: np.ndarray) -> str:
    """A checksum of arrays: two runs with the same one saw the same data, split or set."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(repr((array.shape, array.dtype.str)).encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8), crc)
    return f"{crc:08x}"
