"""SIGKILL in every phase of every script: the same command again ends where an unbroken run does, to the bit.

The run that dies is a fork of this process, so that nothing of it goes on: no `finally`, no handler, no buffer.
"""

import contextlib
import io
import os
import signal

import pytest
import torch

from lottery.checkpointing import atomic_file
from lottery.search import imp as search
from lottery.training import checkpointer, context, single_training, training_run
from lottery.training.progress import Progress
from tests.helpers import REWIND, SCRIPTS, SETTINGS, assert_same_files, at_call, run

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(),
    reason="where there is CUDA, a process that has trained cannot fork: use tests/stress there",
)

STEPS = 21  # of an epoch on all the digits
SHORT = "--epochs 4 --decreasing_lr 2,3"  # a drop in each round; the runs of test_resume.py are longer
FLAGS = {
    "imp": f"{REWIND} {SHORT} --pruning_times 2",
    "PrAC": f"{REWIND} {SHORT} --pruning_times 2 --eb_eps 0.02",
    "train": f"{SETTINGS} {SHORT}",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Each script's run, unbroken."""
    folder = tmp_path_factory.mktemp("whole")
    for script, flags in FLAGS.items():
        run(script, flags, folder / script)
    return folder


PHASES = {  # what to die at: (owner, function, which call, after it)
    "with the data read": (context, "initial_model", 1, False),
    "before anything is written": (atomic_file, "_write_and_rename", 1, False),
    "at the first step": (Progress, "tick", 1, False),
    "in the first epoch": (Progress, "tick", 7, False),
    "in a later epoch": (Progress, "tick", 3 * STEPS + 7, False),
    "in validation": (training_run, "_row", 4, False),
    "in a checkpoint's write": (os, "fsync", 5, False),
    "between a write and its rename": (atomic_file.Path, "replace", 5, False),
    "between the best network and the checkpoint": (checkpointer, "write", 2, True),
    "between two epochs": (checkpointer.Checkpointer, "save", 3, True),
}
IN_SEARCHES = {
    "with the rewinding weights there": (search, "write", 1, True),
    "between pruning and the next round": (search.ImpSearch, "new_round", 2, False),
    "with the next round ready": (search.ImpSearch, "new_round", 2, True),
    "as the last round ends": (search.ImpSearch, "next_round", 2, False),
    "before the last ticket is written": (search.ImpSearch, "new_round", 3, False),
    "with all written": (search.ImpSearch, "log_result", 1, False),
}
IN_TRAININGS = {
    "with all trained": (single_training, "summary", 1, False),
    "with all written": (single_training, "draw_curves", 1, True),
}
CASES = [
    (script, phase, interval)
    for script in FLAGS
    for phase in {**PHASES, **(IN_TRAININGS if script == "train" else IN_SEARCHES)}
    for interval in ((0, 60) if phase in ("in a later epoch", "between two epochs") else (0,))
]


@pytest.mark.parametrize("script, phase, interval", CASES)
def test_a_run_killed_at_any_point_ends_as_an_unbroken_one(whole, tmp_path, monkeypatch, script, phase, interval):
    phases = PHASES | (IN_TRAININGS if script == "train" else IN_SEARCHES)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
            at_call(monkeypatch, *phases[phase])
            words = f"{FLAGS[script]} --save_interval {interval} --save_dir {tmp_path / script}".split()
            SCRIPTS[script].main(words)
        os._exit(0)  # it never died
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "the phase was never reached"
    run(script, FLAGS[script], tmp_path / script)
    assert_same_files(whole / script, tmp_path / script)
