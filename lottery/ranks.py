"""The processes that torchrun starts for one run, its ranks: who this one is, and how they talk to each other.

All ranks run the same program on the same settings and come to the same decisions. The first alone, rank 0, writes
files and speaks; what it alone may do, `from_first` does for all. torchrun says who is who in environment variables,
which are read when they are asked for; without them there is one rank, and torch.distributed is not imported. Importing
this module does not import torch.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from utils import InputError, RunError

if TYPE_CHECKING:
    from torch import Tensor

Made = TypeVar("Made")
Failure = TypeVar("Failure", bound=Exception)

TIMEOUT = timedelta(hours=2)  # that a rank waits for others, of which the first may decode a data set meanwhile
GRACE = 1.0  # seconds: torchrun ends all ranks within that time once it knows that one is gone


class LostRank(RunError):
    """Another rank has ended, or can no longer be reached."""


# --- who this process is ----------------------------------------------------------------------------------------------


def _number(name: str, alone: int) -> int:
    """One of torchrun's variables; what it would be of a process of its own if torchrun has not started this one."""
    return int(os.environ.get(name, alone)) if "TORCHELASTIC_RUN_ID" in os.environ else alone


def count() -> int:
    """How many ranks there are, on all machines together."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """The number of this one, from 0."""
    return _number("RANK", 0)


def local_count() -> int:
    """How many of them torchrun started on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def local_rank() -> int:
    """The number of this one among those on this machine, from 0."""
    return _number("LOCAL_RANK", 0)


def is_first() -> bool:
    """Whether this is the rank that writes and speaks."""
    return rank() == 0


def is_restarted() -> bool:
    """Whether torchrun has started the ranks again because one of them failed."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0) > 0


def launcher() -> list[str]:
    """The words that a command begins with that starts as many ranks as there are."""
    if count() == 1:
        return ["python"]
    nodes = ["--nnodes", str(count() // local_count())] if count() > local_count() else []
    return ["torchrun", *nodes, "--nproc-per-node", str(local_count())]


@contextmanager
def only_first_speaks() -> Iterator[None]:
    """Within, what ranks other than the first print goes nowhere; their errors, on stderr, do. A signal ends them at
    once, even while they wait for others: they have nothing to save."""
    if is_first():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def known_to_all(error: Failure) -> Failure:
    """The error, of which the first rank will speak: all raise it."""
    error.known_to_all = True  # type: ignore[attr-defined]
    return error


def speaks_of(error: BaseException) -> bool:
    """Whether this rank, which fails, is to say why.

    The first one is. Another waits, since torchrun ends all ranks when one has ended: where the first fails as well, as
    it does on the same wrong flags, it is to speak before that. Of what all know, of ranks that are lost and of
    signals, which go to all, another says nothing.
    """
    if is_first():
        return True
    if not isinstance(error, Exception):
        return False
    known = isinstance(error, LostRank) or hasattr(error, "known_to_all")
    time.sleep((60 if known else 5) * GRACE)
    return not known


# --- what they tell each other ----------------------------------------------------------------------------------------


@contextmanager
def _talking() -> Iterator[None]:
    """Within, torch's errors about other processes become a LostRank.

    Where the others were told to end, so is this rank in a moment, and that is what it then reports.
    """
    try:
        yield
    except RuntimeError as error:
        time.sleep(GRACE)
        raise LostRank(
            "another rank has ended, or cannot be reached any more: it has said why, or torchrun does. What was "
            "written is kept, and the same command goes on from there"
        ) from error


def join(device_type: str) -> None:
    """Meet the other ranks, if there are any. Tensors on CUDA devices are sent by NCCL, those in memory by gloo."""
    if count() == 1:
        return
    import torch.distributed as dist

    if dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    with _talking():
        store, number, ranks = next(dist.rendezvous("env://", timeout=TIMEOUT))
        # torchrun may keep the store when it starts the ranks again: what the ones before wrote must not be read.
        store = dist.PrefixStore(f"start {_number('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        dist.init_process_group(backend, store=store, rank=number, world_size=ranks, timeout=TIMEOUT)


def leave() -> None:
    """Part from the others at a good end. A run that fails is ended without, since they may wait for something else."""
    if count() > 1 and "torch" in sys.modules:
        import torch
        import torch.distributed as dist

        if dist.is_initialized():
            gc.collect()  # recorded steps, which are parts of cycles: NCCL waits without end for graphs that exchange
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            dist.destroy_process_group()


def from_first(make: Callable[[], Made]) -> Made:
    """What `make` returns on the first rank, where alone it is called; an InputError or RunError that it raises is
    raised on all. Tensors in it come to the CPU."""
    if count() == 1:
        return make()
    outcome: tuple[Made | None, Exception | None] = None, None
    if is_first():
        try:
            outcome = make(), None
        except (InputError, RunError) as error:
            outcome = None, error
    made, failure = _sent_by_first(outcome)
    if failure is not None:
        raise known_to_all(failure)
    return made


def _sent_by_first(value: Made) -> Made:
    import torch
    import torch.distributed as dist

    file = io.BytesIO()
    if is_first():
        torch.save(value, file)
    with _talking():
        size = torch.tensor(len(file.getbuffer()))
        dist.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8)
        if is_first():
            content.copy_(torch.frombuffer(file.getbuffer(), dtype=torch.uint8))
        dist.broadcast(content, 0)
    return value if is_first() else torch.load(io.BytesIO(content.numpy()), map_location="cpu", weights_only=False)


def first_here_first(make: Callable[[], Made]) -> Made:
    """What `make` returns, called on all ranks: on each machine by one of them first, which may leave the others a file
    to read, as of a data set that it downloads or decodes."""
    if count() == 1:
        return make()
    import torch.distributed as dist

    try:
        made = make() if local_rank() == 0 else None
    finally:  # where that failed, the others fail by themselves
        with _talking():
            dist.barrier()
    return made if local_rank() == 0 else make()


def all_agree(yes: bool) -> bool:
    """Whether all ranks say yes."""
    if count() == 1:
        return yes
    import torch

    return not bool(maximum_(torch.tensor(int(not yes))))


def maximum_(values: Tensor) -> Tensor:
    """Replace each number by the largest that any rank has in its place."""
    if count() > 1:
        import torch.distributed as dist

        with _talking():
            dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def gathered(values: Tensor) -> Tensor:
    """(...) of each rank -> (ranks, ...), on all of them."""
    if count() == 1:
        return values[None]
    import torch
    import torch.distributed as dist

    found = [torch.empty_like(values) for _ in range(count())]
    with _talking():
        dist.all_gather(found, values)
    return torch.stack(found)


def add_up_(total: Tensor, other: Tensor) -> None:
    """Replace each rank's `total` by the sum of all, added in a binary tree; `other` is overwritten.

    Pairs exchange and add at each level. Since a + b = b + a, all ranks have the same bits, and so has a single process
    that adds in the same tree. The number of ranks is a power of two.
    """
    distance = 1
    while distance < count():
        _exchange(total, other, rank() ^ distance)
        total += other
        distance *= 2


def _exchange(mine: Tensor, theirs: Tensor, peer: int) -> None:
    """Send a tensor to another rank and receive its own. On CUDA only the stream waits, and it may be recorded."""
    import torch.distributed as dist

    with _talking():
        both = [dist.P2POp(dist.isend, mine, peer), dist.P2POp(dist.irecv, theirs, peer)]
        for work in dist.batch_isend_irecv(both):
            work.wait()


def different(values: Tensor) -> Sequence[int]:
    """The ranks whose numbers are not those of the first."""
    everyone = gathered(values)
    return (everyone != everyone[0]).flatten(1).any(1).nonzero().flatten().tolist()
