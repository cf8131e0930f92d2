"""What every script needs around its work: errors a user can act on, exit statuses, and where chance comes from."""

import sys
from collections.abc import Callable

import numpy as np


class InputError(ValueError):
    """The user asked for something that cannot be done; the message names what came and what is allowed."""


class RunError(RuntimeError):
    """A run that had begun cannot go on; what it found so far is on disk."""


def run_script(main: Callable[[], None], name: str) -> int:
    """Run a script's work; its exit status: 0 done, 2 bad input, 1 a run that could not go on."""
    try:
        main()
    except (InputError, RunError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


# Purposes for which chance is drawn; each has a stream of its own, so that no choice of one shifts another.
EPOCH, INITIAL_WEIGHTS, RANDOM_PRUNE, RANDOM_SET = range(4)


def generator(seed: int, round: int = 0, epoch: int = 0, purpose: int = EPOCH) -> np.random.Generator:
    """The generator of one (seed, round, epoch): chance is a pure function of these, so a resumed run needs no
    generator state."""
    return np.random.default_rng(np.random.SeedSequence([seed, round, epoch], spawn_key=(purpose,)))
