"""Reading directories: names of runs, and what holds no run."""

import json
import re
import shutil

import pytest

from lottery.checkpointing.checkpoint import write
from lottery.results.not_reportable import NotReportable
from lottery.results.run_search import find_runs
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


def test_a_run_whose_mask_keeps_nothing_is_left_out(tmp_path):
    run("imp", f"{REPORTED} --pruning_times 1", tmp_path / "imp")
    file = tmp_path / "imp" / "summary.json"
    summary = json.loads(file.read_text())
    summary["rounds"][-1]["density"] = 0.0
    file.write_text(json.dumps(summary))
    found, notes = logged(read_runs, [tmp_path / "imp"])
    assert found == []
    assert notes == [f"{tmp_path / 'imp'} has a round whose mask keeps no weights; left out."]


# --- folders of runs --------------------------------------------------------------------------------------------------


def study(folder):
    """A study's folder: ten seeds with a search and its ticket's training, and what may lie beside runs."""
    for seed in range(11):
        for name in ("IMP", "IMP_ticket_2"):
            (folder / f"seed_{seed}" / name).mkdir(parents=True)
            (folder / f"seed_{seed}" / name / "summary.json").write_text("{}")
        (folder / f"seed_{seed}" / "IMP.log").write_text("done")
    (folder / "report" / "tables").mkdir(parents=True)
    (folder / "report" / "report.html").write_text("")
    return folder


def test_the_runs_of_a_study_are_found_in_natural_order(tmp_path):
    folder = study(tmp_path / "study")
    found = find_runs(folder)
    assert found == [folder / f"seed_{k}" / name for k in range(11) for name in ("IMP", "IMP_ticket_2")]
    assert find_runs(folder / "seed_3" / "IMP") == [folder / "seed_3" / "IMP"]
    assert find_runs(folder / "report") == [] and find_runs(folder / "nowhere") == []


def test_backups_copies_hidden_folders_and_what_lies_within_runs_are_not_searched(tmp_path):
    folder = study(tmp_path)
    expected = find_runs(folder)
    for name in ("seed_0/IMP.old", "seed_0/IMP.old.moving", ".cache", "seed_0/IMP/inner", "seed_1/young/copy_1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0checkpoint.pth.tar").write_bytes(b"")
    assert find_runs(folder) == expected
    shutil.rmtree(folder / "seed_0" / "IMP")
    assert find_runs(folder)[0] == folder / "seed_0" / "IMP.old", "the backup of nothing is a run as any other"


def test_links_in_a_circle_and_runs_reached_twice_count_once(tmp_path):
    folder = study(tmp_path / "study")
    expected = find_runs(folder)
    (folder / "zz_all").symlink_to(folder, target_is_directory=True)
    (folder / "seed_0" / "zz_up").symlink_to(folder / "seed_1", target_is_directory=True)
    assert sorted(run.resolve() for run in find_runs(folder)) == sorted(expected)
    (tmp_path / "elsewhere").symlink_to(folder, target_is_directory=True)
    assert len(find_runs(tmp_path / "elsewhere")) == len(expected)


def test_a_search_for_runs_opens_no_file(tmp_path, monkeypatch):
    folder = study(tmp_path)

    def refuse(*_, **__):
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    assert len(find_runs(folder)) == 22


def test_a_folder_stands_for_its_runs_once(tmp_path):
    ticket = {"format": 3, "settings": {"script": "main_init.py"}}
    for name in ("a", "deep/b", "snip"):
        (tmp_path / name).mkdir(parents=True)
        write(tmp_path / name / "checkpoint.pth.tar", ticket)
    young = {"format": 3, "settings": {"script": "main_train.py", "epochs": 9}, "epoch": 1, "history": [{}]}
    for name in ("x", "deep/y"):
        (tmp_path / name).mkdir(parents=True)
        write(tmp_path / name / "checkpoint.pth.tar", young)
    _, notes = logged(read_runs, [tmp_path, tmp_path / "x"])
    assert notes == [
        f"2 runs have nothing to show yet: {tmp_path / 'deep' / 'y'} is not finished: 1 of 9 epochs, "
        f"{tmp_path / 'x'} is not finished: 1 of 9 epochs; left out."
    ]


def test_runs_within_a_run_are_told(tmp_path):
    young = {"format": 3, "settings": {"script": "main_train.py", "epochs": 9}, "epoch": 1, "history": [{}]}
    for name in (".", "a", "deep/b"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        write(tmp_path / name / "checkpoint.pth.tar", young)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    _, (note, _) = logged(read_runs, [tmp_path])
    assert note == f"{tmp_path} is a run itself; 2 runs within it are left out: name them, too."
    _, (note, _) = logged(read_runs, [tmp_path, tmp_path / "a"])
    assert note == f"{tmp_path} is a run itself; the run {tmp_path / 'deep' / 'b'} within it is left out: name it, too."
    _, notes = logged(read_runs, [tmp_path, tmp_path / "a", tmp_path / "deep" / "b"])
    assert len(notes) == 1


def test_a_folder_without_runs_is_one_note(tmp_path):
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    _, notes = logged(read_runs, [tmp_path / "empty"])
    (note,) = notes
    assert note.startswith(f"{tmp_path / 'empty'} holds no run: neither it nor a folder in it has summary.json")
