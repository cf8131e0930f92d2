"""Runs on file systems that cannot do everything, and on those that are full."""

import contextlib
import errno
import fcntl
import io
import os
import resource
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import main_robustness
import main_train
import report
import study
from lottery.checkpointing import atomic_file, file_system
from lottery.checkpointing.atomic_file import write_atomically
from lottery.checkpointing.checkpoint import read, write
from lottery.checkpointing.file_system import is_locked, lock_file, sync_directory
from lottery.checkpointing.metrics import Metrics, write_summary
from lottery.readers import decoded_cache
from lottery.reports.build import write_report
from lottery.reports.document import Column, Report, Section, Table
from lottery.training.plots import draw_curves
from tests.helpers import ROOT, run_in_process
from utils import InputError, RunError

QUICK = "--dataset digits --arch lenet300 --batch_size 128 --epochs 2 --decreasing_lr 1 --save_interval 0 --gpu -1"
ROW = {"epoch": 0, "train": 1.0, "validation": 1.0, "test": 1.0, "loss": 1.0, "lr": 0.1, "steps": 1, "seconds": 1.0}


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    """A process says once what it does without; here each test is a process of its own."""
    monkeypatch.setattr(file_system, "_reported", set())


def refuse(number, applies=lambda *args: True, real=None):
    """A system call that fails with this error where it `applies`."""

    def call(*args, **more):
        if applies(*args):
            raise OSError(number, os.strerror(number), *map(str, args[:1]))
        return real(*args, **more)

    return call


def is_directory(file, *_) -> bool:
    return os.path.isdir(file)  # noqa: PTH112 - of a descriptor, too


def lies_in(folder: Path):
    """Whether an open file is the lock of this directory."""

    def test(descriptor, *_) -> bool:
        lock = folder / ".lock"
        return lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat())

    return test


LACKS = {
    "Lustre without -o flock": (fcntl, "flock", errno.ENOSYS, "lock", "files cannot be locked"),
    "NFS without lockd": (fcntl, "flock", errno.ENOLCK, "lock", "files cannot be locked"),
    "CIFS": (os, "fsync", errno.EINVAL, is_directory, "directories cannot be synced"),
    "Windows": (os, "open", errno.EACCES, is_directory, "directories cannot be synced"),
    "some FUSE": (os, "fsync", errno.ENOTSUP, lambda file: not is_directory(file), "files cannot be synced"),
}


@pytest.mark.parametrize("case", LACKS)
def test_what_a_file_system_cannot_do_is_done_without_and_said_once(tmp_path, monkeypatch, case):
    owner, name, number, applies, said = LACKS[case]
    applies = lies_in(tmp_path / "run") if applies == "lock" else applies
    monkeypatch.setattr(owner, name, refuse(number, applies, getattr(owner, name)))
    status, _, err = run_in_process(main_train, *QUICK.split(), "--save_dir", tmp_path / "run")
    assert status == 0, err
    (note,) = err.splitlines()
    assert note.startswith(f"note: in {tmp_path / 'run'} {said} (") and os.strerror(number) in note
    assert read(tmp_path / "run" / "checkpoint.pth.tar")["epoch"] == 2
    assert not [file.name for file in (tmp_path / "run").iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("applies", [is_directory, lambda file: not is_directory(file)])
def test_a_disk_that_fails_is_still_an_error(tmp_path, monkeypatch, number, applies):
    monkeypatch.setattr(os, "fsync", refuse(number, applies, os.fsync))
    status, _, err = run_in_process(main_train, *QUICK.split(), "--save_dir", tmp_path / "run")
    assert status == 1 and os.strerror(number) in err and len(err.splitlines()) == 1


def test_a_directory_that_is_gone_is_still_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "gone")


def test_modes_are_left_to_the_umask(tmp_path, monkeypatch):
    """Where they cannot be changed, that is never asked for."""
    for owner, name in ((Path, "chmod"), (os, "chmod"), (os, "fchmod")):
        monkeypatch.setattr(owner, name, refuse(errno.EPERM))
    modes = {}
    for umask in (0o022, 0o002, 0o077):
        before = os.umask(umask)
        try:
            write(tmp_path / f"{umask}", {"epoch": 0})
        finally:
            os.umask(before)
        modes[umask] = (tmp_path / f"{umask}").stat().st_mode & 0o777
    assert modes == {0o022: 0o644, 0o002: 0o664, 0o077: 0o600}


# --- locks ------------------------------------------------------------------------------------------------------------

HOLDER = """
import errno, fcntl, pathlib, sys, time
from lottery.checkpointing import run_directory
from tests.checkpointing import test_file_system
folder = pathlib.Path(sys.argv[1])
fcntl.flock = test_file_system.refuse(errno.ENOLCK, test_file_system.lies_in(folder), fcntl.flock)
with run_directory.locked(run_directory.RunDirectory(folder)):
    print("here", flush=True)
    time.sleep(60)
"""


def test_a_look_at_a_lock_does_not_keep_a_run_from_it(tmp_path):
    """A dry run shares the lock of a killed run for an instant, in which the run may be begun again."""
    with (tmp_path / ".lock").open("w") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (look, fcntl.LOCK_UN)).start()
        lock = lock_file(tmp_path / ".lock")
        assert lock is not None and is_locked(tmp_path / ".lock")
        lock.release()
    assert not is_locked(tmp_path / ".lock")


def test_where_files_cannot_be_locked_a_second_run_on_this_machine_is_refused_and_a_killed_one_blocks_none(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK, lies_in(tmp_path / "run"), fcntl.flock))
    words = [*QUICK.split(), "--save_dir", tmp_path / "run"]
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        try:
            other.stdout.readline()
            status, _, err = run_in_process(main_train, *words)
        finally:
            other.kill()
    assert status == 2 and "another run is at work in" in err
    assert run_in_process(main_train, *words)[0] == 0


def test_where_nothing_can_be_locked_a_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSYS))
    assert lock_file(tmp_path / ".lock") is None
    assert "a second run in the same directory is not noticed" in capsys.readouterr().err


def test_where_there_is_no_temporary_directory_either_a_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK, lies_in(tmp_path), fcntl.flock))
    monkeypatch.setattr(tempfile, "gettempdir", refuse(errno.ENOENT))
    assert lock_file(tmp_path / ".lock") is None
    assert "not noticed" in capsys.readouterr().err


# --- full disks -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def files_of_at_most(size: int):
    """The system refuses what is longer (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Full(io.FileIO):
    """A file on a disk that has no space left, or whose user's quota is used up, after so many bytes."""

    left, number = 0, errno.ENOSPC

    def write(self, data) -> int:
        if memoryview(data).nbytes > self.left:
            raise OSError(self.number, os.strerror(self.number))
        self.left -= memoryview(data).nbytes
        return super().write(data)


@pytest.fixture(params=[(errno.ENOSPC, 0), (errno.ENOSPC, 5000), (errno.EDQUOT, 5000)], ids=str)
def full(request, monkeypatch):
    """Every new file has room for so many bytes; the words that say why there is no more."""
    number, left = request.param
    real = Path.open

    def opened(self, mode="r", *args, **more):
        if not set(mode) & set("xwa"):
            return real(self, mode, *args, **more)
        file = Full(self, mode.replace("b", ""))
        file.left, file.number = left, number
        return io.BufferedRandom(file) if "+" in mode else io.BufferedWriter(file)

    monkeypatch.setattr(Path, "open", opened)
    return {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}[number]


CONTENT = {"weights": torch.arange(50_000.0)}
TABLE = Table("numbers", "Numbers", [Column("number", "d")], [[number] for number in range(9000)])
WRITERS = {
    "checkpoint": lambda folder: write(folder / "checkpoint.pth.tar", CONTENT),
    "summary": lambda folder: write_summary(folder / "summary.json", {"rounds": list(range(9000))}),
    "metrics": lambda folder: Metrics(folder / "metrics.jsonl").add(0, 1.0, [ROW] * 1000),
    "curves": lambda folder: draw_curves([ROW], folder / "net_train.png", "title"),
    "report": lambda folder: write_report(Report("Title", [Section("Numbers", "numbers", [TABLE])]), folder),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_called_a_full_disk(full, writer, tmp_path, monkeypatch, quick_pictures):
    monkeypatch.setattr(Figure, "savefig", quick_pictures)  # the disk is too small for a real one
    with pytest.raises(RunError) as error:
        WRITERS[writer](tmp_path)
    assert full in str(error.value) and "unexpected pos" not in str(error.value)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.glob(".*")), "no half-written file is left to fill the disk"


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 100_000, 199_000, 200_500])
def test_a_file_that_may_grow_no_further_is_told_with_its_limit(tmp_path, size):
    """Wherever in torch's archive the end comes."""
    with files_of_at_most(size), pytest.raises(RunError, match=r"checkpoint.* \(.*ulimit -f: File too large\)"):
        write(tmp_path / "checkpoint.pth.tar", CONTENT)
    assert not list(tmp_path.iterdir())


def test_images_that_cannot_be_cached_for_want_of_space_are_said(full, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert decoded_cache.save(tmp_path, "train", "key", {"images": np.zeros(9000, np.uint8)}, "00", "some") is None
    err = capsys.readouterr().err
    assert full in err and len(err.splitlines()) == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_is_no_failure_to_write_is_not_called_one(tmp_path):
    def fail(file):
        file.write(b"half")
        raise InputError("another matter")

    with pytest.raises(InputError, match="another matter"):
        write_atomically(tmp_path / "file", fail)
    assert not list(tmp_path.iterdir())


def test_want_of_memory_while_writing_is_not_called_a_full_disk(tmp_path, monkeypatch):
    class NoMemory(atomic_file._RecordsFailure):
        def write(self, data):
            self.failure = MemoryError()
            raise self.failure

    monkeypatch.setattr(atomic_file, "_RecordsFailure", NoMemory)
    with pytest.raises(MemoryError):
        write(tmp_path / "checkpoint.pth.tar", CONTENT)


# --- directories that cannot be used ----------------------------------------------------------------------------------

NEVER = {
    main_train: lambda folder: [*QUICK.split(), "--save_dir", folder],
    report: lambda folder: [".", "--output", folder],
    study: lambda folder: [ROOT / "studies" / "digits.toml", "--save_dir", folder],
}


@pytest.mark.parametrize("script", NEVER)
@pytest.mark.parametrize(
    "name, said",
    [
        ("a\nb", "has a line break or another control character in its name"),
        ("a\x1b[2Jb", "has a line break or another control character in its name"),
        (300 * "x", "cannot be used: File name too long"),
        (250 * "x", "cannot be used: File name too long"),  # for the run that --overwrite would put beside it
        (3000 * "ab/", "cannot be used: File name too long"),
    ],
)
def test_names_that_no_directory_should_have_are_one_sentence(tmp_path, script, name, said):
    status, _, err = run_in_process(script, *NEVER[script](tmp_path / name))
    assert status == 2 and said in err and len(err.splitlines()) == 1 and len(err) < 400
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", NEVER)
def test_where_one_may_only_read_is_said_before_any_work(tmp_path, script, monkeypatch):
    """The administrator may write everywhere, so that this is asked of the system in name only."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    status, _, err = run_in_process(script, *NEVER[script](tmp_path / "new"))
    assert status == 2 and f"cannot be written: no permission in {tmp_path}" in err and len(err.splitlines()) == 1
    real = os.statvfs
    flags = list(real(tmp_path))
    flags[8] |= os.ST_RDONLY
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(flags))
    status, _, err = run_in_process(script, *NEVER[script](tmp_path / "new"))
    assert status == 2 and f"the file system of {tmp_path} is read-only" in err and len(err.splitlines()) == 1


def test_a_run_that_may_only_be_read_is_not_attacked(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    status, _, err = run_in_process(main_robustness, tmp_path)
    assert status == 2 and "cannot be written: no permission" in err
