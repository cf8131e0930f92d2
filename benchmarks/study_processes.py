"""What the runs of a study cost as processes of their own, and forked from one that has imported torch.

    python -m benchmarks.study_processes --runs 40 --output study_processes.json

The same study of short runs twice, one run at a time, with the CPU seconds of all its processes: user and system, those
of the process that they are forked from included. CPU seconds say the same on a machine that does other work. Then the
files of both are compared, to the bit. For Linux.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lottery.cli import flags
from lottery.cli.script import run_script
from utils import InputError, RunError

WAYS = ("a process each", "forked")
TICKETS = 4  # runs besides a search, at each seed
PR_SET_CHILD_SUBREAPER = 36
STUDY = """
[common]
dataset = "digits"
arch = "lenet300"
epochs = {epochs}
schedule = "linear"
[grid]
seed = {seeds}
[search]
pruning_times = {tickets}
[methods.IMP]
script = "main_imp.py"
[retrain]
prunings = {prunings}
"""
RUN = """
import sys
import study
from lottery.study import processes
processes._has_server = False if sys.argv[1] == "a process each" else None
sys.exit(study.main([sys.argv[2], "--save_dir", "runs", "--no_report", "--gpu", "--jobs", "1"]))
"""


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    add("--runs", type=flags.positive_int, default=40, help="runs of the study, a multiple of 5")
    add("--epochs", type=flags.positive_int, default=10, help="epochs of each training")
    add("--output", type=flags.path, metavar="FILE.json", help="where to write every number")
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)
    if args.runs % (TICKETS + 1):
        raise InputError(f"--runs must be a multiple of {TICKETS + 1}, a search and its tickets, got {args.runs}")
    if sys.platform != "linux":
        raise InputError(f"this counts the seconds of processes on Linux, not on {sys.platform}")
    with TemporaryDirectory() as folder:
        measured = measure(Path(folder), args)
    print(*report(measured, args), sep="\n")
    write(args.output, measured, args)


def measure(folder: Path, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Way -> CPU and wall seconds; RunError unless all ways leave the same files."""
    file = folder / "study.toml"
    seeds, prunings = list(range(args.runs // (TICKETS + 1))), list(range(1, TICKETS + 1))
    file.write_text(STUDY.format(epochs=args.epochs, seeds=seeds, tickets=TICKETS, prunings=prunings))
    adopt_orphans()
    measured = {way: seconds([sys.executable, "-c", RUN, way, str(file)], folder / way) for way in WAYS}
    compare(*(folder / way / "runs" for way in WAYS))
    return measured


def adopt_orphans() -> None:
    """From now on processes whose parent ends become children of this one: what runs were forked from outlives its
    study for a moment, and its seconds would be lost."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise RunError("this system does not let a process adopt those of its children")


def seconds(command: Sequence[str], folder: Path) -> dict[str, float]:
    """CPU seconds of a command with all its processes, until the last has ended, and its wall time."""
    folder.mkdir()
    before, started = cpu_seconds(), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    wait_for_orphans()
    if done.returncode:
        raise RunError(f"the study ended with status {done.returncode}")
    return {"cpu": cpu_seconds() - before, "wall": wall}


def wait_for_orphans() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


def cpu_seconds() -> float:
    """User and system seconds of the children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(a: Path, b: Path) -> None:
    """RunError unless all runs in two directories left the same files."""
    from tests.stress.same_files import differences

    runs = sorted(path.parent.relative_to(a) for path in a.rglob("summary.json"))
    found = [f"{run}: {difference}" for run in runs for difference in differences(a / run, b / run)]
    if found or not runs:
        raise RunError(f"the files differ: {found[0] if found else 'there are none'}")


def report(measured: dict[str, dict[str, float]], args: argparse.Namespace) -> list[str]:
    lines = [f"{way}: {used['cpu']:.1f} CPU seconds for {args.runs} runs, {used['cpu'] / args.runs:.2f} a run; "
             f"{used['wall']:.0f} s in all" for way, used in measured.items()]  # fmt: skip
    own, forked = (measured[way]["cpu"] for way in WAYS)
    return [*lines, f"forked takes {forked / own:.3f} of the CPU seconds; the files are the same to the bit"]


def write(output: Path | None, measured: dict[str, dict[str, float]], args: argparse.Namespace) -> None:
    if output:
        import torch

        from benchmarks.report import circumstances, write_json

        write_json(output, circumstances(torch.device("cpu")) | {"runs": args.runs, "epochs": args.epochs} | measured)


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.study_processes", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
