"""Benchmark of the work between epochs: time and peak memory."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from benchmarks import prac_set
from benchmarks.memory import let_glibc_return_memory, let_suite_keep_memory, peak_bytes
from benchmarks.ours import Ours
from benchmarks.plain import Plain
from lottery.training.timing import interleave, time_report, timed_task

Job = Callable[[], object]


def network_jobs(plain: Plain, ours: Ours, folder: Path) -> dict[str, dict[str, Job]]:
    """Job -> who does it -> how.

    A new best makes ours write a second file; plain does not write one at all. Most epochs shorter than --save_interval
    ours only keeps in memory.
    """
    return {
        "next mask": {"plain": plain.next_mask, "ours": ours.next_mask},
        "mask distance": {"plain": plain.mask_distance, "ours": ours.mask_distance},
        "checkpoint": {"plain": partial(plain.checkpoint, folder), "ours": partial(ours.checkpoint, folder)},
        "checkpoint, new best": {"ours": partial(ours.checkpoint, folder, new_best=True)},
        "checkpoint, in memory": {"ours": partial(ours.checkpoint, folder, interval=math.inf)},
    }


def set_jobs(device: torch.device) -> dict[str, dict[str, Job]]:
    evidence = prac_set.random_evidence(device)
    arrays = [part.cpu().numpy() for part in evidence]
    return {"PrAC set": {"plain": partial(prac_set.plain, *arrays), "ours": partial(prac_set.ours, evidence)}}


def measure(jobs: Mapping[str, Mapping[str, Job]], device: torch.device, repeats: int) -> dict:
    """Job -> who does it -> seconds with repeats, and bytes at the peak."""
    return {name: measure_job(contestants, device, repeats) for name, contestants in jobs.items()}


def measure_job(contestants: Mapping[str, Job], device: torch.device, repeats: int) -> dict:
    tasks = {who: timed_task(job, device, allocator_setting(who)) for who, job in contestants.items()}
    times = interleave(tasks, repeats)
    return {who: time_report(times[who]) | {"peak_bytes": peak_bytes(job, device)} for who, job in contestants.items()}


def allocator_setting(who: str) -> Job:
    return let_suite_keep_memory if who == "ours" else let_glibc_return_memory
