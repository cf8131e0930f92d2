"""What some file systems cannot do: a run does without it, and says so once.

Network and foreign file systems may be unable to lock a file or to sync a directory; docs/file_systems.md says which,
and what is lost by it. That is told apart from a disk that fails (EIO) or is full (ENOSPC, EDQUOT), which stays an
error.
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
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it would be larger than a file may be here, see ulimit -f",
}

_told: set[str] = set()  # what this process has said that it does without


def reason(error: OSError) -> str:
    """Why a file cannot be written, in a few words for a user."""
    words = error.strerror or str(error).partition("\n")[0]
    return f"{FULL[error.errno]}: {words}" if error.errno in FULL else words


@contextmanager
def done_without(what: str, folder: Path, numbers: set[int], loss: str) -> Iterator[None]:
    """Within, an error that has one of these numbers says that the file system of `folder` cannot do `what`; it is said
    once, with what is lost, and passed over."""
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
        if what not in _told:
            _told.add(what)
            print(f"note: in {folder} {what} ({error.strerror}): {loss}", file=sys.stderr)


def sync(descriptor: int, path: Path) -> None:
    """Have all of an open file on the disk before going on."""
    loss = "after a power cut a file may be damaged, which its checksum tells"
    with done_without("files cannot be synced", path.parent, UNSUPPORTED, loss):
        os.fsync(descriptor)


def sync_directory(folder: Path) -> None:
    """Make a rename last: without it a power cut may bring the old name back."""
    loss = "after a power cut the newest files may be gone, and those before them are used"
    with done_without("directories cannot be synced", folder, NO_SYNC_OF_DIRECTORIES, loss):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# --- locks ------------------------------------------------------------------------------------------------------------


def locked(file: Path) -> BaseFileLock | None:
    """A lock on `file`, which ends with the process, however that ends; filelock.Timeout while another one holds it.

    Where files cannot be locked, it is on another one in the temporary directory of this machine, so that processes on
    other machines are not kept away; None where that cannot be locked either.
    """
    loss = "a second run in the same directory is noticed on the same machine alone"
    with done_without("files cannot be locked", file.parent, NO_LOCKS, loss):
        return _acquired(file)
    loss = "a second run in the same directory is not noticed"
    with done_without("no lock can be had either", Path("the temporary directory"), NO_STAND_IN, loss):
        return _acquired(_stand_in(file))
    return None


def _acquired(file: Path) -> BaseFileLock:
    """The operating system's lock. filelock's own substitute for it is not wanted: a file that a killed run would leave
    behind, and that would keep the same run from going on elsewhere."""
    lock = FileLock(file, timeout=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # so newer versions tell that they are about to use it
        try:
            lock.acquire()
        except (UserWarning, NotImplementedError) as error:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    return lock


def _stand_in(file: Path) -> Path:
    """A file of this user's, in the temporary directory, for `file` alone."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    name = hashlib.sha256(bytes(file.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"prac-tickets-{user}-{name}.lock"
