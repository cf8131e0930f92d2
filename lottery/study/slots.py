"""Slots of the machine: where the runs of a study compute, one at a time in each."""

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slot:
    """A GPU, or a share of the CPU's cores (gpu -1)."""

    gpu: int
    threads: int | None = None

    @property
    def flags(self) -> list[str]:
        return ["--gpu", str(self.gpu)]

    @property
    def environment(self) -> dict[str, str]:
        return {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}


def find_slots(jobs: int | None, gpus: Sequence[int] | None) -> list[Slot]:
    """One on each of these GPUs (if None, on all that torch can use), but no more than `jobs`, if given; without any
    GPU, `jobs` on the CPU (if None, one a core).

    InputError for a GPU that torch cannot use. If a machine has GPUs but none that can be used, the reason is printed.
    """
    if found := usable_gpus(gpus):
        return [Slot(gpu) for gpu in found[:jobs]]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = jobs or cores
    return [Slot(-1, requested_threads() or max(1, cores // jobs)) for _ in range(jobs)]


def requested_threads() -> int | None:
    """The OMP_NUM_THREADS of this process, which every run then gets as well."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() and int(value) else None


def usable_gpus(requested: Sequence[int] | None) -> Sequence[int]:
    """The requested GPUs, checked; all that torch can use if None."""
    if requested is not None and not requested:
        return []
    from lottery.training import devices

    for gpu in requested or ():
        devices.check_gpu(gpu, cpu="--gpu without a number")
    found = devices.usable_gpus() if requested is None else requested
    if not found and (why := devices.why_gpu_is_unused()):
        print(f"note: the runs compute on the CPU: {why}")
    return found
