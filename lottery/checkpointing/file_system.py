"""Syncing and locking on file systems that may not support them.

Network and foreign file systems may be unable to lock a file or to sync a directory; docs/file_systems.md says which,
and what is lost. A run then continues without and says so once. A disk that fails (EIO) or is full (ENOSPC, EDQUOT)
remains an error.
"""

import errno
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock

UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
NO_LOCKS = UNSUPPORTED | {errno.ENOLCK}
NO_STAND_IN = NO_LOCKS | {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOENT}
NO_SYNC_OF_DIRECTORIES = UNSUPPORTED | {errno.EACCES, errno.EBADF, errno.EISDIR}  # Windows does not even open them
GLANCE = 0.2  # seconds that a lock is waited for: longer than `is_locked()` of another process holds it
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it would be larger than a file may be here, see ulimit -f",
}

_reported: set[str] = set()  # the missing abilities that this process has reported


def write_failure(error: OSError) -> str:
    """Why a file cannot be written, in a few words for a user."""
    words = error.strerror or str(error).partition("\n")[0]
    return f"{FULL[error.errno]}: {words}" if error.errno in FULL else words


@contextmanager
def optional(what: str, folder: Path, numbers: set[int], loss: str) -> Iterator[None]:
    """Within, an OSError with one of these numbers means that the file system of `folder` lacks an ability: it is
    reported once, with what is lost, and ignored."""
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
        if what not in _reported:
            _reported.add(what)
            print(f"note: in {folder} {what} ({error.strerror}): {loss}", file=sys.stderr)


def sync(descriptor: int, path: Path) -> None:
    """Wait until an open file is on the disk."""
    loss = "after a power cut a file may be damaged, which its checksum tells"
    with optional("files cannot be synced", path.parent, UNSUPPORTED, loss):
        os.fsync(descriptor)


def sync_directory(folder: Path) -> None:
    """Make a rename permanent: without it, a power cut may bring the old file back."""
    loss = "after a power cut the newest files may be gone, and those before them are used"
    with optional("directories cannot be synced", folder, NO_SYNC_OF_DIRECTORIES, loss):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# --- locks ------------------------------------------------------------------------------------------------------------


def lock_file(file: Path) -> BaseFileLock | None:
    """Lock `file` until the process ends, however it ends; filelock.Timeout while another process holds the lock.

    Where files cannot be locked, a file in this machine's temporary directory is locked instead, which does not keep
    processes on other machines out; None where that fails too.
    """
    loss = "a second run in the same directory is noticed on the same machine alone"
    with optional("files cannot be locked", file.parent, NO_LOCKS, loss):
        return _acquired(file)
    loss = "a second run in the same directory is not noticed"
    with optional("no lock can be had either", Path("the temporary directory"), NO_STAND_IN, loss):
        return _acquired(_stand_in(file))
    return None


def _acquired(file: Path) -> BaseFileLock:
    """The operating system's lock, never filelock's substitute for it: a killed run would leave that file behind, and
    it would keep the run from being resumed elsewhere."""
    lock = FileLock(file, timeout=GLANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # which newer versions issue before they use the substitute
        try:
            lock.acquire()
        except (UserWarning, NotImplementedError) as error:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    return lock


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock of `file`, which is neither made nor changed by the question; the lock is shared
    for an instant, which `lock_file()` waits for. False where it cannot be told: on a system without such locks, and
    for a stand-in."""
    try:
        import fcntl

        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)  # released by closing it
    except BlockingIOError:
        return True
    except (OSError, ImportError):
        return False
    return False


def _stand_in(file: Path) -> Path:
    """The file in the temporary directory that is locked in place of `file`, one per user and path."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    name = hashlib.sha256(bytes(file.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"prac-tickets-{user}-{name}.lock"
