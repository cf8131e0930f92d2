"""Scripts started as torchrun starts them, and a network that goes wrong on one rank.

    ended = torchrun(2, log, "main_imp.py", "--shards", "2", ...)

Processes are forked from one that has imported torch. As torchrun does, the launcher ends all ranks when one fails, and
starts all again if restarts are left.
"""

import itertools
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed import TCPStore

from lottery.study.processes import Running, start
from tests.networks import tiny

LONGEST = 120.0  # seconds of a run of a few; beyond it hangs


class Ended(NamedTuple):
    """How the ranks ended: their statuses, minus the signal's number where one ended them; and all that they said."""

    statuses: list[int]
    said: str


def torchrun(
    ranks: int, log: Path, *words: object, restarts: int = 0, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a script on so many ranks to its end."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # one for all starts, as torchrun has it
    shared = {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True", **(environment or {})}
    for restart in range(restarts + 1):
        with started(ranks, log, words, shared | {"TORCHELASTIC_RESTART_COUNT": str(restart)}) as running:
            statuses = wait(running)
        if not any(statuses):
            break
    return Ended(statuses, log.read_text())


@contextmanager
def started(
    ranks: int, log: Path, words: Sequence[object], environment: Mapping[str, str] | None = None
) -> Iterator[list[Running]]:
    """The processes, which do not outlive the block."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "TORCHELASTIC_RUN_ID": "test"}
    shared |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1", **(environment or {})}
    running = []
    try:
        for rank in map(str, range(ranks)):
            running.append(start([str(word) for word in words], log, shared | {"RANK": rank, "LOCAL_RANK": rank}))
        yield running
    finally:
        end(running, signal.SIGKILL)


def free_port() -> str:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return str(opened.getsockname()[1])


def wait(running: Sequence[Running], longest: float = LONGEST) -> list[int]:
    """The statuses of all once they have ended; those that are left are terminated when one fails."""
    begun = time.monotonic()
    while None in (statuses := [process.poll() for process in running]):
        assert time.monotonic() - begun < longest, "the ranks never ended"
        if any(statuses):
            end(running, signal.SIGTERM)
        time.sleep(0.02)
    return statuses


def end(running: Sequence[Running], number: int) -> None:
    """Send a signal to those that have not ended."""
    for process in running:
        if process.poll() is None:
            os.kill(process.process.pid, number)
    for process in running:
        process.wait()


# --- a network that goes wrong ----------------------------------------------------------------------------------------


PASSES = itertools.count(1)  # those of this process


class Faulty(nn.Module):
    """A small network with dropout. On the rank FAULTY_RANK its pass number FAULTY_PASS in train mode, if these
    variables are set, ends the process, or changes one of its weights: FAULT is "dies" or "changes". The process dies
    in its first life alone."""

    def __init__(self, num_classes: int):
        super().__init__()
        *features, self.fc = tiny(num_classes)
        self.features, self.dropout = nn.Sequential(*features), nn.Dropout(0.2)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        here = os.environ.get("FAULTY_RANK", "none") == os.environ.get("RANK")
        if self.training and here and str(next(PASSES)) == os.environ["FAULTY_PASS"]:
            self.fail()
        return self.fc(self.dropout(self.features(images)))

    def fail(self) -> None:
        if os.environ["FAULT"] == "changes":
            with torch.no_grad():
                self.fc.weight.view(-1)[3] *= 1 + 2**-20
        elif os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)


def faulty(num_classes: int) -> nn.Module:
    return Faulty(num_classes)
