"""Files that are whole or absent, and that tell whether they are as they were written."""

import zipfile

import pytest
import torch

from lottery.checkpointing.atomic_file import (
    COMMENT_BYTES,
    LABEL,
    DamagedFile,
    has_checksum,
    verify_checksum,
    write_atomically,
)
from lottery.checkpointing.checkpoint import read, write
from utils import RunError

CONTENT = {"state_dict": {"conv.weight": torch.arange(5000.0), "bn.running_mean": torch.ones(3)}, "epoch": 4}


@pytest.fixture
def file(tmp_path):
    write(tmp_path / "1checkpoint.pth.tar", CONTENT)
    return tmp_path / "1checkpoint.pth.tar"


def test_a_sealed_file_reads_as_any_other(file):
    """Without us, too: the seal is a comment of the archive."""
    assert has_checksum(file) and verify_checksum(file.open("rb"), file)
    for content in (read(file), torch.load(file, weights_only=True)):
        assert torch.equal(content["state_dict"]["conv.weight"], torch.arange(5000.0)) and content["epoch"] == 4
    assert zipfile.ZipFile(file).comment.startswith(LABEL) and zipfile.ZipFile(file).testzip() is None


def test_every_flipped_bit_is_seen(file):
    """One in each of some hundred bytes, those of the seal among them; torch.load sees next to none of them."""
    whole = file.read_bytes()
    places = [*range(0, len(whole), len(whole) // 100), *range(len(whole) - COMMENT_BYTES - 22, len(whole))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        try:
            content = read(file)
        except DamagedFile:
            continue
        assert not has_checksum(file), place  # the label itself: the contents are whole, and not taken for checked
        assert torch.equal(content["state_dict"]["conv.weight"], torch.arange(5000.0))


def test_every_truncation_is_seen(file):
    whole = file.read_bytes()
    for length in [
        *range(0, len(whole), len(whole) // 50),
        *range(len(whole) - COMMENT_BYTES + len(LABEL), len(whole)),
    ]:
        file.write_bytes(whole[:length])
        with pytest.raises(DamagedFile, match=r"1checkpoint\.pth\.tar"):
            read(file)


def test_a_file_longer_than_it_was_written_is_damaged(file):
    with file.open("ab") as opened:
        opened.write(b"more")
    with pytest.raises(DamagedFile):
        read(file)


def test_an_unsealed_file_is_read_and_known_to_be_unchecked(tmp_path):
    torch.save(CONTENT, tmp_path / "theirs.pth.tar")
    assert read(tmp_path / "theirs.pth.tar")["epoch"] == 4
    assert not has_checksum(tmp_path / "theirs.pth.tar")


def test_a_checksum_is_looked_at_before_anything_is_unpickled(file, monkeypatch):
    damaged = bytearray(file.read_bytes())
    damaged[200] ^= 1
    file.write_bytes(damaged)
    monkeypatch.setattr(torch, "load", lambda *args, **more: pytest.fail("unpickled"))
    with pytest.raises(DamagedFile, match="checksum does not match"):
        read(file)


def test_a_short_file_is_no_sealed_one(tmp_path):
    (tmp_path / "short").write_bytes(b"x")
    assert not has_checksum(tmp_path / "short")
    (tmp_path / "empty").write_bytes(b"")
    assert not has_checksum(tmp_path / "empty")


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("old")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"file cannot be written \(the disk is full: No space left"):
        write_atomically(tmp_path / "file", fail)
    assert (tmp_path / "file").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
