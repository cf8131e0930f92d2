"""Files that are whole or absent, and that tell whether they are still as they were written.

A sealed file is a zip archive, as torch.save writes it, whose comment is the SHA-256 of all bytes before the comment.
Whatever reads zip archives, torch.load and the 2021 code included, reads it as before.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lottery.checkpointing.file_system import reason, sync, sync_directory
from lottery.checkpointing.signals import shielded
from utils import InputError, RunError

LABEL = b"sha256:"
SEAL = len(LABEL) + 64  # bytes of the comment


class DamagedFile(InputError):
    """A file that is not as it was written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, what cannot be written is a RunError that says why in a user's words: a full disk, a used-up quota."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written ({reason(error)}); what was written before is kept") from error


def write_whole(path: Path, save: Callable[[BinaryIO], object], seal: bool = False) -> None:
    """Let `save` write into a new file and put it at `path`, which at any moment holds either what it held before or
    all that is new, even after a power cut; with `seal` a zip archive gets its checksum.

    Who may read it is up to the user's umask. A signal that ends the run waits until it is done. RunError where it
    cannot be written.
    """
    with writing(path), shielded():
        _write_and_rename(path, save, seal)


def _write_and_rename(path: Path, save: Callable[[BinaryIO], object], seal: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("x+b") as file:
            _save(save, file)
            if seal:
                _seal(file)
            file.flush()
            sync(file.fileno(), path)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first reason is the one to be told
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _save(save: Callable[[BinaryIO], object], file: BinaryIO) -> None:
    """Let `save` write into `file`; OSError for whatever keeps it from that."""
    watched = _Watched(file)
    try:
        save(watched)
    except RuntimeError as error:
        raise watched.failure or OSError(str(error)) from error


class _Watched:
    """A file that remembers why writing into it failed, which torch's zip writer replaces by an error of its own."""

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


def _seal(file: BinaryIO) -> None:
    """Add the checksum as the archive's comment, whose length is the last field before it."""
    file.seek(-2, os.SEEK_END)
    file.write(SEAL.to_bytes(2, "little"))
    file.seek(0)
    checksum = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(LABEL + checksum.encode())


def check_seal(file: BinaryIO, path: Path) -> bool:
    """Whether `file` is sealed; it is then as it was written, else DamagedFile. Leaves it at its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4 * SEAL))
    tail = file.read()
    file.seek(0)
    if LABEL not in tail:
        return False
    if len(tail) - tail.rindex(LABEL) != SEAL:
        raise DamagedFile(f"{path} is damaged: its end is missing, or not its own")
    if _digest_of_first(file, size - SEAL) != tail[-SEAL:].removeprefix(LABEL).decode(errors="replace"):
        raise DamagedFile(f"{path} is damaged: its checksum does not hold")
    file.seek(0)
    return True


def is_sealed(path: Path) -> bool:
    """Whether a checksum stands in the file; whether it holds, `check_seal` tells."""
    with path.open("rb") as file:
        file.seek(-min(SEAL, path.stat().st_size), os.SEEK_END)
        return file.read().startswith(LABEL)


def _digest_of_first(file: BinaryIO, bytes: int) -> str:
    """SHA-256 of so many bytes from where the file stands."""
    checksum = hashlib.sha256()
    while part := file.read(min(bytes, 2**20)):
        checksum.update(part)
        bytes -= len(part)
    return checksum.hexdigest()
