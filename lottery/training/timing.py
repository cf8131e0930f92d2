"""Benchmark timing: tasks run in turn, so that other load on the machine affects all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

Result = TypeVar("Result")


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its queue; nothing to do on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def elapsed_seconds(run: Callable[[], object], device: torch.device) -> float:
    """Seconds that `run` takes, including the device's work."""
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def timed_task(
    run: Callable[[], object], device: torch.device, prepare: Callable[[], object] = lambda: None
) -> Callable[[], float]:
    """A task that returns the seconds `run` takes; `prepare` runs before it and is not timed."""

    def timed() -> float:
        prepare()
        return elapsed_seconds(run, device)

    return timed


def interleave(tasks: Mapping[str, Callable[[], Result]], repeats: int) -> dict[str, list[Result]]:
    """The results of each task, run `repeats` times in turn: each round runs all of them, starting with another one.

    Before that each is run once as a warm-up, to allocate, choose kernels and start workers.
    """
    names = list(tasks)
    for name in names:
        tasks[name]()
    results: dict[str, list[Result]] = {name: [] for name in names}
    for round in range(repeats):
        first = round % len(names) if names else 0
        for name in names[first:] + names[:first]:
            results[name].append(tasks[name]())
    return results


def time_report(seconds: list[float]) -> dict:
    """The median of the repeats, and the repeats."""
    return {"seconds": statistics.median(seconds), "repeats": seconds}


def rate_report(seconds: list[float], images: int, images_per_epoch: int) -> dict:
    """The same for repeats over `images` images, with images per second and seconds per full epoch."""
    median = statistics.median(seconds)
    return time_report(seconds) | {
        "images": images,
        "images_per_second": images / median,
        "seconds_per_epoch": images_per_epoch * median / images,
    }
