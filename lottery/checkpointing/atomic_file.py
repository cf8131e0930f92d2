"""Files written atomically, with a checksum.

A file is written under a temporary name and renamed into place. The checksum of a zip archive, as torch.save writes it,
is its archive comment: the SHA-256 of all bytes before the comment. Whatever reads zip archives, torch.load and the
2021 code included, ignores it.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO

from lottery.checkpointing.file_system import sync, sync_directory, write_failure
from lottery.checkpointing.signals import shielded
from utils import InputError, RunError

LABEL = b"sha256:"
COMMENT_BYTES = len(LABEL) + 64


class DamagedFile(InputError):
    """A file whose contents are no longer those that were written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, an OSError becomes a RunError that gives the reason in plain words, such as a full disk."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written ({write_failure(error)}); what was written before is kept") from error


def write_atomically(
    path: Path, save: Callable[[BinaryIO], object], checksum: bool = False, durable: bool = True
) -> None:
    """Replace the file at `path` by what `save` writes: even after a power cut it holds all of the old or all of the
    new contents. With `checksum`, for zip archives, the checksum is added. What can be made again need not be
    `durable`: a power cut may empty it, but it takes no wait for the disk.

    The file's mode follows the user's umask. Signals wait until it is written. RunError if it cannot be written.
    """
    with writing(path), shielded():
        _write_and_rename(path, save, checksum, durable)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that is renamed to `path` once all of it is written, and is gone if it could not be."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with writing(path):
        temporary.mkdir()
        try:
            yield temporary
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextmanager
def parents_made(path: Path) -> Iterator[None]:
    """Makes the folders above `path`; those that were not there are gone again if nothing came into them."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # somebody else's file is in it
            for folder in made:
                folder.rmdir()
        raise


def _write_and_rename(path: Path, save: Callable[[BinaryIO], object], checksum: bool, durable: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("x+b") as file:
            _save(save, file)
            if checksum:
                _add_checksum(file)
            file.flush()
            if durable:
                sync(file.fileno(), path)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def _save(save: Callable[[BinaryIO], object], file: BinaryIO) -> None:
    """Let `save` write into `file`; OSError if it cannot."""
    recording = _RecordsFailure(file)
    try:
        save(recording)  # type: ignore[arg-type]  # it hands on all that it lacks of a file
    except RuntimeError as error:
        raise recording.failure or OSError(str(error)) from error


class _RecordsFailure:
    """A file that remembers why writing failed: torch's zip writer replaces the error by one of its own."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.failure: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except Exception as error:
            self.failure = self.failure or error
            raise

    def __getattr__(self, name: str):
        return getattr(self.file, name)


def _add_checksum(file: BufferedRandom) -> None:
    """Add the checksum as the archive's comment; the comment's length is the last field before it."""
    file.seek(-2, os.SEEK_END)
    file.write(COMMENT_BYTES.to_bytes(2, "little"))
    file.seek(0)
    checksum = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(LABEL + checksum.encode())


def verify_checksum(file: BinaryIO, path: Path) -> bool:
    """Whether `file` has a checksum; DamagedFile if it has one that does not match. Rewinds the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4 * COMMENT_BYTES))
    tail = file.read()
    file.seek(0)
    if LABEL not in tail:
        return False
    if len(tail) - tail.rindex(LABEL) != COMMENT_BYTES:
        raise DamagedFile(f"{path} is damaged: its end is missing, or not its own")
    if _sha256(file, size - COMMENT_BYTES) != tail[-COMMENT_BYTES:].removeprefix(LABEL).decode(errors="replace"):
        raise DamagedFile(f"{path} is damaged: its checksum does not match")
    file.seek(0)
    return True


def has_checksum(path: Path) -> bool:
    """Whether the file carries a checksum; `verify_checksum` tells whether it matches."""
    with path.open("rb") as file:
        file.seek(-min(COMMENT_BYTES, path.stat().st_size), os.SEEK_END)
        return file.read().startswith(LABEL)


def _sha256(file: BinaryIO, bytes: int) -> str:
    """SHA-256 of the next `bytes` bytes of the file."""
    checksum = hashlib.sha256()
    while part := file.read(min(bytes, 2**20)):
        checksum.update(part)
        bytes -= len(part)
    return checksum.hexdigest()
