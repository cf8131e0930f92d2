"""Reading directories: names of runs, and what holds no run."""

import re

import pytest

from lottery.checkpointing.checkpoint import write
from lottery.results.checkpoint_runs import NotReportable
from lottery.results.runs import read_run, read_runs, short_names
from tests.helpers import REPORTED, logged, run


def test_short_names_are_unique(tmp_path):
    paths = [tmp_path / "a" / "lt", tmp_path / "b" / "lt"]
    assert short_names(paths) == ["a/lt", "b/lt"]
    assert short_names(paths[:1]) == ["lt"]


def test_logs_beside_runs_and_tickets_alone_are_no_long_list(tmp_path):
    """A shell's runs/* has them all."""
    ticket = {"format": 3, "settings": {"script": "main_init.py"}}
    for number in range(5):
        (tmp_path / f"snip_{number}").mkdir()
        write(tmp_path / f"snip_{number}" / "checkpoint.pth.tar", ticket)
        (tmp_path / f"snip_{number}.log").write_text("done")
    (tmp_path / "alone.log").write_text("of no run")
    runs, notes = logged(read_runs, sorted(tmp_path.iterdir()))
    assert runs == [] and len(notes) == 2
    assert notes[0] == f"{tmp_path / 'alone.log'} is no directory; left out."
    assert (
        notes[1].startswith(f"{tmp_path / 'snip_0'}, ") and " and 2 more each holds a ticket of main_init" in notes[1]
    )


@pytest.mark.parametrize(
    "script, why",
    [
        ("main_init.py", "holds a ticket of main_init.py, no run: give the run that trained it"),
        ("main_elastic.py", "holds a ticket of main_elastic.py, no run: give the run that trained it"),
        ("main_stability.py", "a run of main_stability.py that is not at its end: the same command goes on with it"),
        ("main_greedy.py", "without a whole summary.json: the command that made the run writes it anew"),
    ],
)
def test_what_is_no_run_is_named_with_its_reason(tmp_path, script, why):
    write(tmp_path / "checkpoint.pth.tar", {"format": 3, "settings": {"script": script}})
    with pytest.raises(NotReportable, match=re.escape(why)):
        read_run(tmp_path)


def test_a_training_is_the_same_from_its_checkpoint(tmp_path):
    """One that began in the middle of an epoch, and left examples out: its row says what it trained on."""
    run("imp", f"{REPORTED} --prune_type rewind_lt --rewind_iteration 7 --pruning_times 1", tmp_path / "imp")
    ticket = tmp_path / "imp" / "1checkpoint.pth.tar"
    flags = f"--init_dir {ticket} --mask_dir {ticket} --rewind_lr --batch_selection infobatch"
    run("train", f"{REPORTED} {flags}", tmp_path / "train")
    (recorded,) = read_run(tmp_path / "train").rounds
    assert recorded["steps_left_out"] > 0 and recorded["examples"] < 3 * recorded["set"] - 7 * 64
    (tmp_path / "train" / "summary.json").unlink()
    (row,) = read_run(tmp_path / "train").rounds
    assert row == {name: recorded[name] for name in row} and {"steps_left_out", "steps_planned"} < row.keys()
