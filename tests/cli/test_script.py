"""`run_script`: what a script prints and which exit status it returns when its work fails or is interrupted."""

import os
import select
import signal
import subprocess
import sys

import pytest
import torch

from lottery.checkpointing import overwrite_flag
from lottery.cli.script import run_script
from tests.helpers import ROOT
from utils import InputError


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_ends_the_work_and_says_how_to_go_on(number, status, capsys):
    def work(argv):
        overwrite_flag.mark_done()  # as a run does once the one before is set aside
        try:
            os.kill(os.getpid(), number)
            pytest.fail("it went on")
        finally:
            os.kill(os.getpid(), number)  # impatience does not cut short what is being saved
            print("saved")

    assert run_script(work, "main_imp.py", ["--save_dir", "a dir", "--overwrite"]) == status
    out, err = capsys.readouterr()
    assert out == "saved\n" and err.endswith("To go on: python main_imp.py --save_dir 'a dir'\n")


def test_an_overwrite_of_several_runs_is_done_with_the_last(capsys):
    def work(argv):
        overwrite_flag.expect(2)
        overwrite_flag.mark_done()
        os.kill(os.getpid(), signal.SIGINT)

    run_script(work, "main_greedy.py", ["--overwrite"])
    assert capsys.readouterr().err.endswith("To go on: python main_greedy.py --overwrite\n")


def test_a_script_that_cannot_go_on_does_not_say_it_could(capsys):
    assert run_script(lambda argv: os.kill(os.getpid(), signal.SIGINT), "verify.py", [], goes_on=False) == 130
    assert "To go on" not in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(select, "poll"), reason="a system that does not say whether a pipe is read")
@pytest.mark.parametrize("goes_on", [True, False])
def test_output_that_nobody_reads_ends_it_as_it_ends_other_programs(goes_on):
    """Status 141, with the resuming command where there is one; bad input keeps its status with nobody to tell."""
    code = f"""
import sys
from lottery.cli.script import run_script
from utils import InputError

def work(argv):
    for _ in range(9999):
        print("words", flush=True)

def wrong(argv):
    raise InputError("wrong")

sys.exit(run_script(wrong if "wrong" in sys.argv else work, "main_imp.py", ["--seed", "1"], {goes_on}))
"""
    for words, status in (((), 141), (("wrong",), 2)):
        reading, writing = os.pipe()
        os.close(reading)
        streams = {"stdout": writing, "stderr": subprocess.STDOUT if words else subprocess.PIPE}
        done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, text=True, **streams)
        os.close(writing)
        assert done.returncode == status
        assert words or done.stderr.replace("\n", " ") == goes_on * (
            "main_imp.py: what read its output has ended; what it found is kept. To go on: python main_imp.py --seed 1 "
        )


def test_names_that_are_no_utf_8_can_be_printed():
    code = "import os; from lottery.cli.script import run_script\n"
    code += "run_script(lambda argv: print(os.fsdecode(b'caf\\xe9')), 'x', [])"
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"caf\\udce9\n"


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
