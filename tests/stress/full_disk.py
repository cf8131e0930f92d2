"""Take away what a run needs while it runs, see that it says so and keeps what it has, give it back, and go on.

    python -m tests.stress.full_disk --count 60

A limit on the size of files, a full file system, one that is read-only, a directory without permission, one that
vanishes, a limit on memory: each from a random moment on. The run must end with one sentence and exit status 1 (2
before its work has begun), every file it left must be whole, and the same command must end as an unbroken run does, to
the bit, once the cause is gone. Exit status 0 if all do, else 1.
"""

import ctypes
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lottery.checkpointing.run_directory import OWN
from lottery.cli.script import run_script
from tests.stress import campaign
from tests.stress.campaign import Campaign, conclude, keep, run_cases, workplace
from tests.stress.processes import Ended, Process, finish, prepare, running
from tests.stress.runs import VARIANTS, Runs, saving
from tests.stress.same_files import content, differences, whole_picture
from utils import InputError

COLUMNS = ["cases", "ended with a sentence", "not reached"]
MEBIBYTE = 2**20


class Plight:
    """One way to be in need: `begin` before the run, `strike` while it runs, `relieve` after it.

    `run` is the directory the run writes to, within `folder`.
    """

    mounts = False  # whether something has to be mounted for it

    def __init__(self, folder: Path, random: np.random.Generator, largest: int, total: int):
        self.folder, self.random, self.largest, self.total = folder, random, largest, total
        self.run = folder / "run"

    def begin(self) -> Callable[[], object] | None:
        """Prepare; what the process does before anything else, if it does."""
        return None

    def strike(self, process: Process) -> None: ...

    def relieve(self) -> None: ...

    def told(self) -> str:
        return ""


class LargeFiles(Plight):
    """No file may be larger than a random size, from a random moment on."""

    def strike(self, process: Process) -> None:
        self.most = int(self.random.integers(1, self.largest))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (self.most, self.most))

    def told(self) -> str:
        return f"files of at most {self.most} bytes"


class LittleMemory(Plight):
    """Not more memory than now, and some, from a random moment on."""

    def strike(self, process: Process) -> None:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
        self.more = int(self.random.integers(0, 64 * MEBIBYTE)) if self.random.random() < 0.7 else 0
        most = pages * resource.getpagesize() + self.more
        resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))

    def told(self) -> str:
        return f"{self.more} more bytes of memory"


class Vanishing(Plight):
    """The directory is moved away, and back later."""

    def strike(self, process: Process) -> None:
        if self.run.exists():
            self.run.rename(self.folder / "elsewhere")

    def relieve(self) -> None:
        if (self.folder / "elsewhere").exists():
            shutil.rmtree(self.run, ignore_errors=True)
            (self.folder / "elsewhere").rename(self.run)


class NoPermission(Plight):
    """The directory may no longer be written. The administrator might, so the run does without that right of his."""

    def begin(self) -> Callable[[], object] | None:
        self.run.mkdir()
        return obey_permissions

    def strike(self, process: Process) -> None:
        self.run.chmod(0o555)

    def relieve(self) -> None:
        self.run.chmod(0o755)


def obey_permissions() -> None:
    """Lay down CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, bits 1 and 2 of the effective capabilities."""
    library = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    library.capget(header, sets)
    sets[0] &= ~0b110
    if library.capset(header, sets):
        raise OSError(ctypes.get_errno(), "the right to write anywhere cannot be laid down")


class FileSystem(Plight):
    """A small file system of its own, in memory."""

    mounts = True

    def begin(self) -> Callable[[], object] | None:
        self.run.mkdir()
        mount("-t", "tmpfs", "-o", f"size={self.size()}", "tmpfs", self.run)
        return None

    def size(self) -> int:
        return 64 * MEBIBYTE

    def relieve(self) -> None:
        mount("-o", f"remount,rw,size={64 * MEBIBYTE}", self.run)

    def told(self) -> str:
        return f"a file system of {self.size()} bytes"


class FullDisk(FileSystem):
    """It is full after a random part of what the run would write."""

    def size(self) -> int:
        self.most = getattr(self, "most", None) or int(self.random.integers(20_000, self.total))
        return self.most


class ReadOnly(Plight):
    """The directory can only be read from a random moment on.

    Its file system stays writable while a file in it is open, so the directory is mounted over itself: first elsewhere,
    where nobody writes, and read-only from there.
    """

    mounts = True

    def strike(self, process: Process) -> None:
        aside = self.folder / "aside"
        for folder in (self.run, aside):
            folder.mkdir(exist_ok=True)
        mount("--bind", self.run, aside)
        mount("-o", "remount,bind,ro", aside)
        mount("--bind", aside, self.run)

    def relieve(self) -> None:
        for folder in (self.run, self.folder / "aside"):
            unmount(folder)


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    """All that is mounted there, if anything is; os.path.ismount does not see a directory mounted over itself."""
    while str(folder.resolve()) in (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()):
        subprocess.run(["umount", str(folder)], check=True)


PLIGHTS = (LargeFiles, FullDisk, ReadOnly, NoPermission, Vanishing, LittleMemory)


def possible() -> Iterator[type[Plight]]:
    """Those that can be had here; says which cannot."""
    mounts = can_mount()
    for plight in PLIGHTS:
        if plight.mounts and not mounts:
            print(f"skipped: {plight.__name__}, since nothing can be mounted here", file=sys.stderr)
        else:
            yield plight


def can_mount() -> bool:
    with workplace() as folder:
        plight = FileSystem(folder, np.random.default_rng(0), MEBIBYTE, MEBIBYTE)
        try:
            plight.begin()
        except (OSError, subprocess.CalledProcessError):
            return False
        unmount(plight.run)
        return True


class Case:
    """A run in need."""

    def __init__(self, runs: Runs, row: Campaign, kind: type[Plight], number: int):
        self.row, self.number, self.random = row, number, row.random(number)
        script = list(VARIANTS)[number % len(VARIANTS)]
        variant = int(self.random.integers(len(VARIANTS[script])))
        self.whole, self.seconds = runs.unbroken(script, variant)
        sizes = [file.stat().st_size for file in self.whole.iterdir()]
        self.folder = runs.folder / "case"
        self.folder.mkdir()
        self.plight = kind(self.folder, self.random, max(sizes), sum(sizes))
        self.job = saving(runs.job(script, variant), self.plight.run, save_interval=0)

    def run(self) -> None:
        self.row.tally["cases"] += 1
        try:
            self.check(self.in_need())
        finally:
            for folder in (self.plight.run, self.folder / "aside"):
                unmount(folder)

    def in_need(self) -> Ended:
        first = self.plight.begin()
        self.after = self.random.uniform(0, 1) * self.seconds
        with running(self.job, self.folder / "said", first=first) as (process, ends):
            if not process.wait(self.after):
                self.plight.strike(process)
        self.plight.relieve()
        return ends[0]

    def check(self, ended: Ended) -> None:
        self.row.tally["not reached" if ended.status == 0 else "ended with a sentence"] += 1
        if "Traceback" in ended.err or ended.status not in (0, 1, 2) or len(ended.complaints) != bool(ended.status):
            return self.fail(f"exit status {ended.status}, or not one line on stderr:", ended.err, ended.out)
        if broken := [str(file) for file in files(self.plight.run) if not is_whole(file)]:
            return self.fail("it left broken files:", *broken, ended.err)
        again = finish(self.job, self.folder / "said")
        if again.status:
            return self.fail(f"exit status {again.status} when nothing is wrong any more:", again.err, ended.err)
        if found := differences(self.plight.run, self.whole):
            self.fail("it ended with other files than an unbroken run:", *found, ended.err)

    def fail(self, *lines: str) -> None:
        moment = f"{self.plight.told()} after {self.after:.3f} of {self.seconds:.3f} s"
        self.row.fail(self.number, self.job.told(), moment, *lines, keep(self.folder))


def files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if OWN.fullmatch(file.name)] if folder.exists() else []


def is_whole(file: Path) -> bool:
    try:
        if file.suffix == ".jsonl":  # it grows line by line, and a cut last one is mended when the run goes on
            return True
        return whole_picture(file) if file.suffix == ".png" else bool(content(file))
    except (InputError, ValueError):
        return False


def parser():
    return campaign.parser(__doc__, count=60, counted="runs in need, over all kinds of it", minutes=15)


def work(argv: Sequence[str] | None) -> None:
    args = parser().parse_args(argv)
    prepare()
    kinds = list(possible())
    args.count = -(-args.count // len(kinds))
    with workplace() as folder:
        runs = Runs(folder)

        def one(kind, row: Campaign, number: int) -> None:
            Case(runs, row, kind, number).run()

        rows = run_cases({kind.__name__: partial(one, kind) for kind in kinds}, args, "cases", folder)
    conclude(rows, COLUMNS)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "tests.stress.full_disk", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
