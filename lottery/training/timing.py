"""Clocks: tasks timed in turn, so that what else the machine does falls on all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

Result = TypeVar("Result")


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done all it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clocked(run: Callable[[], object], device: torch.device) -> float:
    """Seconds that `run` takes, the device's work included."""
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def task(
    run: Callable[[], object], device: torch.device, prepare: Callable[[], object] = lambda: None
) -> Callable[[], float]:
    """`run` as a task that gives its seconds; `prepare` goes before it and is not timed."""

    def timed() -> float:
        prepare()
        return clocked(run, device)

    return timed


def interleave(tasks: Mapping[str, Callable[[], Result]], repeats: int) -> dict[str, list[Result]]:
    """What each task gives, `repeats` times in turn: every round does all of them once, from another one on.

    Before that each is done once for nothing, to allocate, choose its kernels, and start its workers.
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


def measured(seconds: list[float]) -> dict:
    """A time as it is reported: the median of its repeats, and these."""
    return {"seconds": statistics.median(seconds), "repeats": seconds}


def measured_rate(seconds: list[float], images: int, images_per_epoch: int) -> dict:
    """The same for so many images, with images a second, and seconds for the images of a full epoch."""
    median = statistics.median(seconds)
    return measured(seconds) | {
        "images": images,
        "images_per_second": images / median,
        "seconds_per_epoch": images_per_epoch * median / images,
    }
