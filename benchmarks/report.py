"""Writing benchmark results to a file and formatting them as tables."""

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lottery.checkpointing.atomic_file import write_atomically
from lottery.training.environment import environment

ROOT = Path(__file__).parent.parent


def circumstances(device: torch.device) -> dict:
    """When, from which code, by which command, on what: what a number means nothing without."""
    status = git("status", "--porcelain")
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(["python", *map(str, sys.orig_argv[1:])]),
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "environment": environment(device),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def git(*arguments: str) -> str | None:
    """What git says of this code; None where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def write_json(path: Path, content: dict) -> None:
    """Write the results atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"
    write_atomically(path, lambda file: file.write(text))


# --- tables -----------------------------------------------------------------------------------------------------------


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in aligned columns, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def tables(result: dict) -> list[str]:
    """All results as text."""
    lines = [*rate_lines(result["rates"]), *job_lines("independent of the network", result["jobs"])]
    for name, network in result["networks"].items():
        lines += [*speed_lines(name, network), *job_lines(name, network["jobs"]), *epoch_lines(name, network["epoch"])]
        lines += memory_lines(name, network["memory"])
    return lines


def rate_lines(rates: dict) -> list[str]:
    rows = [["the device at best", ""]]
    for name, rate in rates.items():
        unit = "GB/s read and written" if name == "copy" else "TFLOP/s"
        rows.append([f"{name}, {unit}", f"{rate['per_second'] / (1e9 if name == 'copy' else 1e12):.3g}"])
    return ["", *aligned(rows)]


def speed_lines(name: str, network: dict) -> list[str]:
    """Training and evaluation side by side, with how many times the plain loop's images a second."""
    head = [f"{name}, {network['examples']} images", "training images/s", "speed-up", "s/epoch"]
    rows = [[*head, "evaluation images/s", "speed-up", "s/test set"]]
    for who in network["training"]:
        rows.append([who, *speed_cells(network["training"], who), *speed_cells(network["evaluation"], who)])
    return ["", *aligned(rows)]


def speed_cells(speeds: dict, who: str) -> list[str]:
    mine, plain = speeds[who], speeds["plain"]
    ratio = mine["images_per_second"] / plain["images_per_second"]
    return [f"{mine['images_per_second']:,.0f}", f"{ratio:.2f}", f"{mine['seconds_per_epoch']:.3g}"]


def job_lines(name: str, jobs: dict) -> list[str]:
    rows = [[f"{name}: jobs", "plain ms", "ours ms", "times", "plain MiB", "ours MiB"]]
    for job, contestants in jobs.items():
        plain, ours = contestants.get("plain"), contestants["ours"]
        times = f"{plain['seconds'] / ours['seconds']:.1f}" if plain else ""
        rows.append([job, milliseconds(plain), milliseconds(ours), times, mebibytes(plain), mebibytes(ours)])
    return ["", *aligned(rows)]


def milliseconds(measured: dict | None) -> str:
    return f"{1000 * measured['seconds']:.3g}" if measured else "-"


def mebibytes(measured: dict | None) -> str:
    known = measured and measured["peak_bytes"] is not None
    return f"{measured['peak_bytes'] / 2**20:.1f}" if known else "-"


def epoch_lines(name: str, epochs: dict) -> list[str]:
    parts = list(dict.fromkeys(part for epoch in epochs.values() for part in epoch["parts"]))
    rows = [[f"{name}: a whole epoch, s", *parts, "total", "speed-up", "early bird %"]]
    for who, epoch in epochs.items():
        cells = [f"{epoch['parts'][part]:.3g}" if part in epoch["parts"] else "-" for part in parts]
        ratio = epochs["plain"]["seconds"] / epoch["seconds"]
        share = f"{100 * epoch['early_bird_share']:.2g}"
        rows.append([who, *cells, f"{epoch['seconds']:.3g}", f"{ratio:.2f}", share])
    return ["", *aligned(rows)]


def memory_lines(name: str, memory: dict[str, int | None]) -> list[str]:
    rows = [[f"{name}: peak of training and evaluation", "MiB"]]
    rows += [[who, mebibytes({"peak_bytes": peak})] for who, peak in memory.items()]
    return ["", *aligned(rows)]
