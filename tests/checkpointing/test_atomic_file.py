"""Files that are whole or absent, and that tell whether they are as they were written."""

import os
import signal
import zipfile

import pytest
import torch

from lottery.checkpointing.atomic_file import LABEL, SEAL, DamagedFile, check_seal, is_sealed, write_whole
from lottery.checkpointing.checkpoint import read, write
from lottery.checkpointing.signals import Interrupted, interruptible, shielded
from utils import InputError, RunError, overwrite_done, run_script

CONTENT = {"state_dict": {"conv.weight": torch.arange(5000.0), "bn.running_mean": torch.ones(3)}, "epoch": 4}


@pytest.fixture
def file(tmp_path):
    write(tmp_path / "1checkpoint.pth.tar", CONTENT)
    return tmp_path / "1checkpoint.pth.tar"


def test_a_sealed_file_reads_as_any_other(file):
    """Without us, too: the seal is a comment of the archive."""
    assert is_sealed(file) and check_seal(file.open("rb"), file)
    for content in (read(file), torch.load(file, weights_only=True)):
        assert torch.equal(content["state_dict"]["conv.weight"], torch.arange(5000.0)) and content["epoch"] == 4
    assert zipfile.ZipFile(file).comment.startswith(LABEL) and zipfile.ZipFile(file).testzip() is None


def test_every_flipped_bit_is_seen(file):
    """One in each of some hundred bytes, those of the seal among them; torch.load sees next to none of them."""
    whole = file.read_bytes()
    places = [*range(0, len(whole), len(whole) // 100), *range(len(whole) - SEAL - 22, len(whole))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        try:
            content = read(file)
        except DamagedFile:
            continue
        assert not is_sealed(file), place  # the label itself: the contents are whole, and not taken for checked
        assert torch.equal(content["state_dict"]["conv.weight"], torch.arange(5000.0))


def test_every_truncation_is_seen(file):
    whole = file.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 50), *range(len(whole) - SEAL + len(LABEL), len(whole))]:
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
    assert not is_sealed(tmp_path / "theirs.pth.tar")


def test_a_checksum_is_looked_at_before_anything_is_unpickled(file, monkeypatch):
    damaged = bytearray(file.read_bytes())
    damaged[200] ^= 1
    file.write_bytes(damaged)
    monkeypatch.setattr(torch, "load", lambda *args, **more: pytest.fail("unpickled"))
    with pytest.raises(DamagedFile, match="checksum does not hold"):
        read(file)


def test_a_short_file_is_no_sealed_one(tmp_path):
    (tmp_path / "short").write_bytes(b"x")
    assert not is_sealed(tmp_path / "short")
    (tmp_path / "empty").write_bytes(b"")
    assert not is_sealed(tmp_path / "empty")


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("old")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"file cannot be written \(the disk is full: No space left"):
        write_whole(tmp_path / "file", fail)
    assert (tmp_path / "file").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_ends_the_work_and_says_how_to_go_on(number, status, capsys):
    def work(argv):
        overwrite_done()  # as a run does once the one before is set aside
        try:
            os.kill(os.getpid(), number)
            pytest.fail("it went on")
        finally:
            os.kill(os.getpid(), number)  # impatience does not cut short what is being saved
            print("saved")

    assert run_script(work, "main_imp.py", ["--save_dir", "a dir", "--overwrite"]) == status
    out, err = capsys.readouterr()
    assert out == "saved\n" and err.endswith("To go on: python main_imp.py --save_dir 'a dir'\n")


def test_what_must_be_whole_is_not_interrupted():
    done = []
    with pytest.raises(Interrupted), interruptible():
        with shielded(), shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inner")
        done.append("after")
    assert done == ["inner"]


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_script_that_cannot_go_on_does_not_say_it_could(capsys):
    assert run_script(lambda argv: os.kill(os.getpid(), signal.SIGINT), "verify.py", [], goes_on=False) == 130
    assert "To go on" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        ImportError("_backend_agg.so: failed to map segment from shared object"),
    ],
)
def test_out_of_memory_is_one_sentence(error, capsys):
    def work(argv):
        raise error

    assert run_script(work, "main_imp.py", []) == 1
    err = capsys.readouterr().err
    assert "out of memory" in err and "--batch_size" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("told", ["shape mismatch", "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasSgemm`"])
def test_a_bug_is_not_hidden(told):
    def work(argv):
        raise RuntimeError(told)

    with pytest.raises(RuntimeError, match=told):
        run_script(work, "main_imp.py", [])


def test_a_wrong_input_within_is_status_2(capsys):
    def work(argv):
        raise InputError("no")

    assert run_script(work, "x.py", []) == 2
