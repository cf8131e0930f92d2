"""What every script needs around its work: errors a user can act on, exit statuses, where chance comes from."""

import sys
import zlib
from collections.abc import Callable

import numpy as np


class InputError(ValueError):
    """The user asked for something that cannot be done; the message names what came and what is allowed."""


class RunError(RuntimeError):
    """A run that had begun cannot go on; what it found so far is on disk."""


def run_script(work: Callable[[], None], name: str) -> int:
    """Do a script's work; its exit status: 0 done, 2 bad input, 1 a run that could not go on, 130 interrupted."""
    try:
        work()
    except InputError as error:
        return complain(name, f"error: {error}", 2)
    except (RunError, OSError) as error:
        return complain(name, f"error: {error}", 1)
    except KeyboardInterrupt:
        return complain(
            name, "interrupted; the same command without --overwrite goes on from the last whole epoch", 130
        )
    return 0


def complain(name: str, message: str, status: int) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return status


# Purposes for which chance is drawn; each has a stream of its own, so that no choice of one shifts another.
EPOCH, INITIAL_WEIGHTS, RANDOM_PRUNE, RANDOM_SET, NETWORK = range(5)


def generator(seed: int, round: int = 0, epoch: int = 0, purpose: int = EPOCH) -> np.random.Generator:
    """The generator of one (seed, round, epoch): chance is a pure function of these, so a resumed run needs no
    generator state."""
    return np.random.default_rng(np.random.SeedSequence([seed, round, epoch], spawn_key=(purpose,)))


def torch_seed(seed: int, round: int = 0, epoch: int = 0, purpose: int = NETWORK) -> int:
    """A seed for torch's own generator, which a network with dropout draws from."""
    return int(generator(seed, round, epoch, purpose).integers(2**62))


def digest(*arrays: np.ndarray) -> str:
    """A checksum of arrays: two runs with the same one saw the same data, split or set."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(repr((array.shape, array.dtype.str)).encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8), crc)
    return f"{crc:08x}"
