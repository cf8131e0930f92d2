"""A run that --overwrite replaces is not lost: not by a second one, not by a crash."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest

import main_channels
import main_elastic
import main_greedy
import main_imp
import main_init
import main_PrAC_imp
import main_stability
import main_train
import report
from lottery.checkpointing import backup
from lottery.checkpointing.backup import back_up_, backup_path, is_worth_keeping, repair_
from lottery.checkpointing.checkpoint import write
from lottery.checkpointing.run_directory import RunDirectory, locked
from lottery.checkpointing.signals import Interrupted
from lottery.search import imp as search
from lottery.training import context
from lottery.training.progress import Progress
from tests.helpers import run_in_process

QUICK = "--dataset digits --arch lenet300 --batch_size 256 --epochs 1 --decreasing_lr 1 --gpu -1"
CHANNELS = "--dataset digits --arch tests.networks:tiny --batch_size 256 --epochs 1 --decreasing_lr 1 --gpu -1"
COMMANDS = {
    main_train: QUICK,
    main_imp: f"{QUICK} --pruning_times 1",
    main_PrAC_imp: f"{QUICK} --pruning_times 1",
    main_stability: f"{QUICK} --points 3 --statistics_examples 50",
    main_greedy: "--dataset digits --hidden 20 --examples 50 --iterations 4 --prune_at 4 --neurons 5 --fine_tune 2",
    main_channels: f"{CHANNELS} --prune_at 0 --fine_tune_epochs 1",
    main_init: "--dataset digits --arch lenet300 --criterion magnitude --density 0.5 --gpu -1",
}
AT_ONCE = [script for script in COMMANDS if script is not main_init]


class Killed(BaseException):
    pass


def run(script, folder, *more, expect=0) -> str:
    status, out, err = run_in_process(script, *COMMANDS[script].split(), "--save_dir", folder, *more)
    assert status == expect, out + err
    return out + err


def begin_only(script, folder, monkeypatch, *more) -> None:
    """Killed before its first step is done."""

    def tick(self, times=1):
        raise Killed

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(Progress, "tick", tick)
        run(script, folder, *more)
        pytest.fail("it took no step")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("script", COMMANDS)
def test_what_is_overwritten_lies_beside_the_new_run(script, tmp_path):
    run(script, tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    before = content(tmp_path / "a")
    said = run(script, tmp_path / "a", "--seed", 1, "--overwrite")
    kept = content(tmp_path / "a.old")
    assert before == kept | {"notes.txt": b"mine"}
    now = content(tmp_path / "a")
    assert now.keys() == before.keys() and now["notes.txt"] == b"mine"
    assert f"is now in {tmp_path / 'a.old'}, until the next --overwrite" in said
    assert not (tmp_path / "a.old.moving").exists()


@pytest.mark.parametrize("script", AT_ONCE)
def test_an_overwrite_that_is_interrupted_at_once_and_given_again_loses_nothing(script, tmp_path, monkeypatch):
    run(script, tmp_path / "a")
    before = content(tmp_path / "a")
    begin_only(script, tmp_path / "a", monkeypatch, "--seed", 1, "--overwrite")
    assert content(tmp_path / "a.old") == before
    said = run(script, tmp_path / "a", "--seed", 2, "--overwrite")
    assert content(tmp_path / "a.old") == before, "a run that has done nothing does not replace it"
    assert "is now in" not in said
    done = content(tmp_path / "a")
    begin_only(script, tmp_path / "a", monkeypatch, "--seed", 3, "--overwrite")
    assert content(tmp_path / "a.old") == done, "one that has done something does"


def test_an_elastic_ticket_is_kept_as_well(tmp_path):
    words = "--dataset digits --arch mlp2 --criterion magnitude --density 0.5 --gpu -1 --save_dir"
    assert run_in_process(main_init, *words.split(), tmp_path / "ticket")[0] == 0
    ticket = tmp_path / "ticket" / "checkpoint.pth.tar"
    carry = ["--source_arch", "mlp2", "--init_dir", ticket, "--mask_dir", ticket, "--save_dir", tmp_path / "a"]
    assert run_in_process(main_elastic, *carry, "--target_arch", "mlp3")[0] == 0
    before = content(tmp_path / "a")
    assert run_in_process(main_elastic, *carry, "--target_arch", "mlp4", "--overwrite")[0] == 0
    assert content(tmp_path / "a.old") == before != content(tmp_path / "a")


def test_a_directory_without_a_run_is_begun_in_and_nothing_is_kept(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.jsonl").write_text("{}\n")
    run(main_train, tmp_path / "a", "--overwrite")
    assert not (tmp_path / "a.old").exists()


# --- what is worth keeping --------------------------------------------------------------------------------------------


def test_records_whose_checkpoints_are_gone_and_damaged_checkpoints_are_worth_keeping(tmp_path):
    directory = RunDirectory(tmp_path)
    assert not is_worth_keeping(directory)
    directory.summary.write_text("{}")
    assert is_worth_keeping(directory)
    write(directory.checkpoint(0), {"history": [], "rounds": [], "momentum": {}})
    assert not is_worth_keeping(directory)
    directory.checkpoint(0).write_bytes(b"damaged")
    assert is_worth_keeping(directory)


def test_layers_that_are_selected_are_worth_keeping(tmp_path):
    begun = {"history": [], "rounds": [], "momentum": {}, "point": {"layers": []}}
    for layers, worth in [([], False), ([{"kept_channels": [0]}], True)]:
        write(RunDirectory(tmp_path).checkpoint(1), begun | {"point": {"layers": layers}})
        assert is_worth_keeping(RunDirectory(tmp_path)) == worth


# --- what is in the way -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "a"
    run(main_train, folder)
    return folder


@pytest.fixture
def again(finished, tmp_path):
    """A finished run, and one that was kept before."""
    shutil.copytree(finished, tmp_path / "a")
    shutil.copytree(finished, tmp_path / "a.old")
    return tmp_path / "a"


def with_notes(kept: Path) -> None:
    (kept / "notes.txt").write_text("mine")


def with_another_folder(kept: Path) -> None:
    (kept / "figures").mkdir()


def with_notes_among_copies(kept: Path) -> None:
    (kept / "copy_1").mkdir()
    (kept / "copy_1" / "notes.txt").write_text("mine")


def as_a_file(kept: Path) -> None:
    shutil.rmtree(kept)
    kept.write_text("mine")


def as_a_link(kept: Path) -> None:
    kept.rename(kept.with_name("elsewhere"))
    kept.symlink_to(kept.with_name("elsewhere"))


@pytest.mark.parametrize(
    "spoil, said",
    [
        (with_notes, "which holds notes.txt, no file of a run"),
        (with_another_folder, "which holds figures, no file of a run"),
        (with_notes_among_copies, "which holds notes.txt, no file of a run"),
        (as_a_file, "which is not a directory"),
        (as_a_link, "which is not a directory"),
    ],
)
def test_what_is_no_run_is_not_replaced(again, spoil, said):
    spoil(again.with_name("a.old"))
    before = content(again.parent)
    err = run(main_train, again, "--overwrite", expect=2)
    assert said in err and len([line for line in err.splitlines() if "error" in line]) == 1
    assert content(again.parent) == before


def test_a_kept_run_that_is_at_work_or_is_read_is_not_replaced(again):
    kept = again.with_name("a.old")
    before = content(again.parent)
    with locked(RunDirectory(kept)):
        assert f"another run is at work in {kept}" in run(main_train, again, "--overwrite", expect=2)
    said = run(main_train, again, "--overwrite", "--init_dir", kept / "checkpoint.pth.tar", expect=2)
    assert "would remove" in said and content(again.parent) == before


def test_a_copy_at_work_is_not_set_aside(tmp_path):
    run(main_stability, tmp_path / "a")
    before = content(tmp_path)
    with locked(RunDirectory(tmp_path / "a" / "copy_2")):
        assert "another run is at work in" in run(main_stability, tmp_path / "a", "--overwrite", expect=2)
    assert content(tmp_path) == before


def test_where_nothing_can_be_put_beside_the_directory_the_run_is_kept_within(again, monkeypatch):
    shutil.rmtree(again.with_name("a.old"))
    before = content(again)
    with monkeypatch.context() as patch:
        real = os.access
        patch.setattr(os, "access", lambda path, mode: Path(path) != again.parent and real(path, mode))
        said = run(main_train, again, "--seed", 1, "--overwrite")
    assert content(again / "old") == before and f"is now in {again / 'old'}" in said
    monkeypatch.setattr("os.path.ismount", lambda path: path == again)
    assert backup_path(RunDirectory(again)) == again / "old"


def test_behind_a_link_the_run_is_kept_beside_what_it_points_to(again):
    before = content(again)
    link = again.with_name("link")
    link.symlink_to(again)
    run(main_train, link, "--seed", 1, "--overwrite")
    assert link.is_symlink() and content(again.with_name("a.old")) == before


# --- crashes ----------------------------------------------------------------------------------------------------------

STEPS = 9  # the calls that move or remove something, each a moment to die before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(STEPS))
def test_a_crash_at_any_step_loses_no_file(tmp_path, monkeypatch, step, after):
    """Old and new are whole, each in one place, once the next command has put right what was left."""
    run_, copy = RunDirectory(tmp_path / "a"), RunDirectory(tmp_path / "a" / "copy_1")
    for directory in (run_, copy):
        directory.tensorboard.mkdir(parents=True)
        for name in ("checkpoint.pth.tar", "summary.json", "tensorboard/events"):
            (directory.path / name).write_text(f"{directory.path.name} {name}")
    (tmp_path / "a.old").mkdir()
    (tmp_path / "a.old" / "checkpoint.pth.tar").write_text("older")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    before, older = content(tmp_path / "a"), content(tmp_path / "a.old")
    calls = iter(range(STEPS))

    def dying(real):
        def call(*args, **more):
            now = next(calls) == step
            if now and not after:
                raise Killed
            real(*args, **more)
            if now:
                raise Killed

        return call

    with monkeypatch.context() as patch:
        patch.setattr(backup.shutil, "move", dying(shutil.move))
        patch.setattr(backup.shutil, "rmtree", dying(shutil.rmtree))
        patch.setattr(Path, "rename", dying(Path.rename))
        try:
            back_up_([run_, copy], backup_path(run_))
        except Killed:
            reached = True
        else:
            reached = False
    repair_([run_, copy])
    assert not (tmp_path / "a.old.moving").exists()
    aside, here = content(tmp_path / "a.old"), content(tmp_path / "a")
    assert here.pop("notes.txt") == b"mine"
    before.pop("notes.txt")
    assert (here, aside) in [(before, older), ({}, before)]
    assert reached == (step < 8), "eight calls: six files and folders, the older run, the name"


def test_the_command_after_a_crash_goes_on_with_the_old_run(again, monkeypatch):
    before = content(again.parent)
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        real, left = shutil.move, iter(range(2))

        def move(*args):
            if next(left, None) is None:
                raise Killed
            real(*args)

        patch.setattr(backup.shutil, "move", move)
        run(main_train, again, "--overwrite", "--seed", 1)
        pytest.fail("it moved no third file")
    assert (again.with_name("a.old.moving")).exists()
    assert "this training is finished" in run(main_train, again)
    after = content(again.parent)
    assert {name for name in before if before[name] != after.get(name)} == {"a/summary.json"}, "it has the last command"
    assert after.keys() == before.keys()


# --- reports ----------------------------------------------------------------------------------------------------------


def test_a_report_of_all_directories_leaves_out_the_run_that_was_replaced(again, tmp_path):
    runs = sorted(tmp_path.iterdir())
    status, _, err = run_in_process(report, *runs, "--output", tmp_path / "report")
    assert status == 0 and f"{again}.old is the run that --overwrite replaced; left out" in err
    assert "a.old" not in (tmp_path / "report" / "tables" / "runs.csv").read_text()
    status, _, err = run_in_process(report, again.with_name("a.old"), "--output", tmp_path / "report")
    assert status == 0 and "left out" not in err, "one that is named alone is shown"


def test_a_run_beside_a_name_that_ends_alike_is_none_that_was_replaced(tmp_path):
    given = {tmp_path / name for name in ("a", "b.old", "older", "c")}
    assert [name for name in ("a", "b.old", "c.old", "older") if backup.is_backup_path(tmp_path / name, given)] == [
        "c.old"
    ]


@pytest.mark.parametrize("module, name, keeps", [(context, "build_context", True), (search.ImpSearch, "begin", False)])
def test_the_command_that_goes_on_overwrites_only_what_has_not_been_set_aside(
    tmp_path, monkeypatch, module, name, keeps
):
    """Ended before the old run was moved, the same is still to be done; afterwards it would move the new one."""
    run(main_imp, tmp_path / "a")

    def end(*_, **__):
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(module, name, end)
    words = [*COMMANDS[main_imp].split(), "--seed", 1, "--overwrite", "--save_dir", tmp_path / "a"]
    status, _, err = run_in_process(main_imp, *words)
    assert status == 130 and ("--overwrite" in err) == keeps


def test_what_is_left_of_a_run_without_its_checkpoint_is_kept(tmp_path):
    run(main_train, tmp_path / "a")
    (tmp_path / "a" / "checkpoint.pth.tar").unlink()
    (tmp_path / "a" / "summary.json").unlink()
    before = content(tmp_path / "a")
    assert "model_SA_best.pth.tar" in before
    run(main_train, tmp_path / "a", "--overwrite")
    assert content(tmp_path / "a.old") == before


def test_other_files_beside_those_of_tensorboard_stay(tmp_path):
    other, own = (tmp_path / "a" / "tensorboard" / name for name in ("other/notes.txt", "events.out.tfevents.1.x"))
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    own.write_text("of a run")
    (tmp_path / "a" / "metrics.jsonl").write_text("")
    run(main_train, tmp_path / "a", "--overwrite")
    assert other.read_text() == "mine" and not own.exists() and not (tmp_path / "a.old").exists()


@pytest.mark.parametrize("script", [main_train, main_imp, main_stability])
def test_weights_that_the_new_run_reads_are_not_replaced(tmp_path, script):
    run(main_train, tmp_path / "a")
    run(main_train, tmp_path / "a", "--seed", 1, "--overwrite")
    before = content(tmp_path / "a.old")
    if script is not main_train:
        shutil.rmtree(tmp_path / "a")
        run(script, tmp_path / "a")
    weights = tmp_path / "a.old" / "model_SA_best.pth.tar"
    said = run(script, tmp_path / "a", "--seed", 2, "--overwrite", "--weights", weights, expect=2)
    assert str(weights) in said and content(tmp_path / "a.old") == before
