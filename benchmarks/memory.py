"""Memory: how much a job takes at its peak, and how the C library treats what is freed."""

import ctypes
import gc
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from lottery.training.environment import keep_freed_memory

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
MEBIBYTE = 2**20


def let_suite_keep_memory() -> None:
    """From now on freed memory is kept for the next allocation, as the suite's scripts have it."""
    keep_freed_memory()


def let_glibc_return_memory() -> None:
    """From now on freed memory goes back to the system as in any program that does not ask otherwise.

    glibc's thresholds move with what is freed, until one is set; these are where freeing large tensors moves them: 32
    MiB, the most there is, for a mapping of its own, and twice that at the heap's end. Nothing happens without glibc.
    """
    if (mallopt := glibc_function("mallopt")) is not None:
        mallopt(TRIM_THRESHOLD, 64 * MEBIBYTE)
        mallopt(MMAP_THRESHOLD, 32 * MEBIBYTE)


def glibc_function(name: str) -> Callable[..., int] | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None


def peak_bytes(run: Callable[[], object], device: torch.device) -> int | None:
    """Memory that `run` takes at its peak beyond what there was before it, its result included.

    On CUDA what torch allocates on the device; on a CPU the resident memory of a forked child that does nothing else,
    with one thread, where the system tells (Linux); None where it does not.
    """
    return peak_on_cuda(run, device) if device.type == "cuda" else peak_in_child(run)


def peak_on_cuda(run: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def peak_in_child(run: Callable[[], object]) -> int | None:
    return answer_of_child("fork", report_peak, run)


def answer_of_child(start_method: str, ask: Callable[..., None], *arguments: object) -> Any:
    """What `ask(*arguments, sender)` sends from another process; None if that fails, after it has said why."""
    context = multiprocessing.get_context(start_method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=ask, args=(*arguments, sender))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        child.join()


def report_peak(run: Callable[[], object], sender: Connection) -> None:
    """In the child: `run` once for the code it needs, which counts as resident from its first use on; then once to be
    measured, with all that is free given back first, or it would seem to need less."""
    torch.set_num_threads(1)  # the parent's threads are not there after a fork
    let_glibc_return_memory()
    run()
    gc.collect()
    if (trim := glibc_function("malloc_trim")) is not None:
        trim(0)
    sender.send(resident_peak(run))


def resident_peak(run: Callable[[], object]) -> int | None:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts afresh
        before = status_bytes("VmRSS")
    except OSError:
        return None
    result = run()
    peak = status_bytes("VmHWM") - before
    del result
    return peak


def process_peak() -> int | None:
    """The most memory that this process has had resident so far."""
    try:
        return status_bytes("VmHWM")
    except OSError:
        return None


def status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
