"""What the files of a study say about its runs, wherever they lie; and dry runs, which tell it."""

import contextlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

import study
from lottery.checkpointing.checkpoint import write
from lottery.checkpointing.run_directory import RunDirectory, locked
from lottery.checkpointing.script_names import Script
from lottery.study.job_states import State, is_done, job_states, log_file, unfinished
from lottery.study.jobs import Job
from lottery.study.study_file import read_study
from tests.helpers import SCRIPTS, Killed, assert_same_files, kill_at, run_in_process, write_study
from tests.study.samples import QUICK, SMALL
from tests.study.test_like import STUDY as FOLLOWING

HEAD, _, TAIL = SMALL.partition('[methods."random pruning"]')
ONE_SEARCH = HEAD + TAIL.partition("random_prune = true\n")[2].replace("dense = true\n", "")


def record(job, **changes):
    """The summary that a job leaves, which a slot gave a device."""
    job.save_dir.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", *job.command, "--gpu", "3"])
    (job.save_dir / "summary.json").write_text(json.dumps({"finished": True, "command": command} | changes))


def everything(folder):
    """All that lies in a folder, with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_the_ticket_of_a_search_that_was_made_anew_is_not_done(quick):
    """Nor is one whose search has other settings now; more rounds and a search that is gone are no difference."""
    ticket = next(job for job in quick.jobs if job.after and job.after.script == Script.IMP)
    then = {"script": "main_imp.py", "rate": 0.2, "pruning_times": 2, "seed": 0}
    record(ticket, ticket={"settings": then})
    assert is_done(ticket)
    record(ticket.after, settings=then | {"pruning_times": 4})
    assert is_done(ticket)
    record(ticket.after, settings=then | {"rate": 0.5})
    assert not is_done(ticket)
    (state,) = (state for state in job_states(quick.jobs) if state.job is ticket)
    assert state.state == State.BEGUN and state.details[-1] == "of a ticket found with other rate"
    record(ticket.after, settings=then | {"script": "main_PrAC_imp.py"})
    assert not is_done(ticket)
    then = {"script": "main_imp.py", "densities": [0.5, 0.25], "pruning_times": 2, "seed": 0}
    record(ticket, ticket={"settings": then})
    for densities, alike in (([0.5, 0.25, 0.1], True), ([0.5], True), ([0.6, 0.25], False)):
        record(ticket.after, settings=then | {"densities": densities, "pruning_times": len(densities)})
        assert is_done(ticket) == alike, densities


@pytest.mark.parametrize("name", ["random_members", "IMP_PrAC_s_steps"])
def test_a_control_of_a_prac_run_that_was_made_anew_is_not_done(tmp_path, monkeypatch, name):
    """It has sets as large, and epochs or steps as many, as the run that was there when it was made."""
    monkeypatch.chdir(tmp_path)
    study_of_controls = read_study(write_study(tmp_path, FOLLOWING))
    control = next(job for job in study_of_controls.jobs if job.save_dir.name == name)
    rows = [{"round": k, "set": 100 - k, "epochs": 2, "steps": 9} for k in range(2)]
    steps = {f"steps_of, round {k}": 9 for k in range(2)} if control.follows == "steps_of" else {"eb_eps": 0.05}
    record(control, settings=steps, rounds=rows)
    assert is_done(control), "the run is no longer there"
    record(control.after, settings={"eb_eps": 0.05}, rounds=rows)
    assert is_done(control)
    record(control.after, settings={"eb_eps": 0.05}, rounds=[rows[0], rows[1] | {"set": 50, "steps": 5}])
    assert not is_done(control)
    (state,) = (state for state in job_states(study_of_controls.jobs) if state.job is control)
    assert state.state == State.BEGUN and "round 1" in state.details[-1]


def test_trainings_of_an_elastic_ticket_know_the_search_that_it_came_from(elastic):
    carried = next(job for job in elastic.jobs if job.script == Script.ELASTIC)
    then = {"script": "main_imp.py", "rate": 0.2, "densities": None, "seed": 0}
    command = shlex.join(["python", *carried.command])
    carried.save_dir.mkdir(parents=True)
    write(RunDirectory(carried.save_dir).checkpoint(None), {"command": command, "source": {"settings": then}})
    record(carried.after, settings=then)
    assert is_done(carried)
    record(carried.after, settings=then | {"rate": 0.5})
    assert not is_done(carried)


# --- done, wherever it is ---------------------------------------------------------------------------------------------


def test_what_is_done_is_known_by_its_command(tmp_path):
    job = Job(Script.IMP, ("--seed", "1"), tmp_path)
    there = f"--save_dir {tmp_path} --gpu 3"
    for command, finished, done in [
        (f"python main_imp.py --seed 1 {there}", True, True),
        (f"python main_imp.py --seed 1 {there}", False, False),
        (f"python main_imp.py --seed 2 {there}", True, False),
        (f"python main_imp.py --seed 1 --lr 0.2 {there}", True, False),
        (f"python main_PrAC_imp.py --seed 1 {there}", True, False),
        (f"python main_imp.py --seed 1 --no_such_flag {there}", True, False),
        ("python main_imp.py 'half a", True, False),
        ("python", True, False),
        (None, True, False),
    ]:
        record(job, command=command, finished=finished)
        assert is_done(job) == done, command
    (tmp_path / "summary.json").write_text('{"finished": tr')
    assert not is_done(job)


@pytest.mark.parametrize("text", [QUICK, FOLLOWING], ids=["tickets", "followed runs"])
def test_a_moved_study_is_done(tmp_path, monkeypatch, text):
    """From a relative directory to an absolute one and back, under another name, from another checkout."""
    file = write_study(tmp_path, text)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for job in read_study(file, Path("runs/first")).jobs:
        record(job)
    assert not unfinished(read_study(file, tmp_path / "here" / "runs" / "first"))
    (tmp_path / "there").mkdir()
    shutil.move("runs/first", tmp_path / "there" / "renamed")
    assert not unfinished(read_study(file, tmp_path / "there" / "renamed"))
    monkeypatch.chdir(tmp_path / "there")
    assert not unfinished(read_study(file, Path("renamed")))
    changed = read_study(write_study(tmp_path, text, ("epochs = 2", "epochs = 3")), tmp_path / "there" / "renamed")
    assert len(unfinished(changed)) == len(changed.jobs)


def test_the_ticket_of_another_run_is_not_the_one_that_is_needed(quick):
    """Beside the run there is another one with the same tickets."""
    job = next(job for job in quick.jobs if job.after and job.after.save_dir.name == "IMP")
    words = shlex.join(["python", *job.command])
    record(job, command=words)
    assert is_done(job)
    for other in (words.replace("/IMP/", "/random_pruning/"), words.replace("1checkpoint", "2checkpoint")):
        record(job, command=other)
        assert other != words and not is_done(job)


def test_the_order_of_flags_and_what_decides_nothing_do_not_matter(tmp_path):
    job = Job(Script.IMP, ("--seed", "1", "--lr", "0.1"), tmp_path)
    record(job, command=f"python main_imp.py --lr 0.10 --print_freq 7 --resume --save_dir {tmp_path} --seed 1")
    assert is_done(job)


def test_a_search_that_was_half_done_goes_on_where_it_was_moved_to(tmp_path, written, run_here, monkeypatch):
    """Killed in the middle of its second round; it ends as an unbroken one does."""
    text = ONE_SEARCH.replace("epochs = 2", "epochs = 4")
    before, after, kept = (tmp_path / name for name in ("before", "after", "kept"))
    search = next(job for job in read_study(written(text), before).jobs if job.save_dir.name == "IMP")
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        kill_at(patch, 12)
        run_in_process(SCRIPTS["imp"], *search.arguments, "--gpu", -1, "--save_interval", 0)
    shutil.move(before, after)
    found = {each.job.save_dir.name: each for each in job_states(read_study(written(text), after).jobs)}
    assert found["IMP"].state is State.BEGUN and found["IMP"].details[0].startswith("1 of 2 rounds and ")
    assert found["IMP_ticket_2"].state is State.WAITING
    first_round = after / "seed_0" / "IMP" / "0checkpoint.pth.tar"
    written_at = first_round.stat().st_mtime_ns
    words = (study, written(text), "--save_dir", after, "--gpu", "--jobs", 1, "--no_report")
    assert run_in_process(*words)[0] == 0
    assert first_round.stat().st_mtime_ns == written_at
    shutil.move(after, kept)
    assert run_in_process(*words)[0] == 0
    for name in ("IMP", "IMP_ticket_2"):
        assert_same_files(kept / "seed_0" / name, after / "seed_0" / name)


# --- other states -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(written, tmp_path):
    """A study some of whose runs are done, begun, failed and running; what is said of it by the runs' names."""
    found = read_study(written(SMALL), tmp_path / "runs")
    jobs = {job.save_dir.name: job for job in found.jobs}
    record(jobs["dense"])
    record(
        jobs["IMP"],
        finished=False,
        rounds=[{}],
        command=" ".join(["python", *jobs["IMP"].command]).replace("epochs 2", "epochs 3"),
    )
    lines = [{"round": k, "epoch": epoch} for k, epoch in ((0, 0), (0, 1), (1, 0))]
    (jobs["IMP"].save_dir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    log_file(jobs["random_pruning"]).write_text("working\nmain_imp.py: error: broken\nstudy.py: exit status 1\n")
    return found, jobs


def test_states_of_runs(mixed):
    found, _ = mixed
    states = {each.job.save_dir.name: (each.state, each.details) for each in job_states(found.jobs)}
    assert states["dense"] == (State.DONE, ())
    assert states["IMP"] == (State.BEGUN, ("1 of 2 rounds and 1 epoch", "made with other --epochs"))
    assert states["IMP_ticket_2"] == (State.WAITING, ("for IMP",))
    assert states["random_pruning"] == (State.FAILED, ("exit status 1", "main_imp.py: error: broken"))
    assert states["random_pruning_ticket_2"] == (State.WAITING, ("for random_pruning, which failed",))


def test_a_run_of_another_process_is_running(mixed):
    found, jobs = mixed
    with locked(RunDirectory(jobs["IMP"].save_dir)):
        states = {each.job.save_dir.name: each.state for each in job_states(found.jobs)}
    assert states["IMP"] is State.RUNNING and states["dense"] is State.DONE


def test_failures_in_logs_of_before_and_runs_that_go_on_after_one(mixed):
    """Without an exit status the message says that a run failed; a log that goes on is of a run that does."""
    found, jobs = mixed
    job = jobs["random_pruning"]
    for text, state in [
        ("main_imp.py: error: broken\n", State.FAILED),
        ("main_imp.py: error: broken\nstudy.py: exit status 1\nround 0\n", State.NOT_BEGUN),
        ("main_imp.py: terminated; what it found is kept. To go on: ...\n", State.NOT_BEGUN),
        ("", State.NOT_BEGUN),
    ]:
        log_file(job).write_text(text)
        assert next(each.state for each in job_states(found.jobs) if each.job is job) is state, text


def test_a_dry_run_tells_states_and_writes_nothing(mixed, tmp_path, written, capsys):
    found, _ = mixed
    words = [str(written(SMALL)), "--save_dir", str(found.save_dir), "--dry_run"]
    before = everything(tmp_path)
    assert study.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "done       seed_0/dense" and "waiting    seed_0/IMP_ticket_2: for IMP" in lines
    assert lines[-1] == "5 runs: 1 done, 1 begun, 1 failed, 2 waiting"
    assert [line for line in lines if len(line) > 80 and "log: " not in line] == []
    assert study.main([*words, "--commands"]) == 0
    told = capsys.readouterr().out
    assert all(shlex.join(["python", "-u", *job.command]) in told for job in found.jobs)
    assert everything(tmp_path) == before


def test_a_dry_run_of_what_was_never_begun_makes_no_directory(written, tmp_path, capsys):
    assert study.main([str(written(SMALL)), "--save_dir", str(tmp_path / "runs"), "--dry_run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "5 runs: 3 not begun, 2 waiting"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "which study"),
        (["FILE", "--commands"], "give --dry_run"),
        (["FILE", "--dry_run", "--slurm", "x.sh"], "give one of them"),
        (["FILE", "--slurm", "x.sh", "--gpu", "0"], "--slurm writes a script for SLURM, .* leave out --gpu"),
        (["FILE", "--new", "mine"], "leave out .*study.toml"),
        (["--new", "mine", "--jobs", "2"], "leave out --jobs"),
        (["--new", "nowhere/mine"], "its directory does not exist"),
        (["FILE", "--dry_run", "--save_dir", "FILE"], "is a file"),
    ],
)
def test_flags_that_cannot_go_together_are_refused(written, tmp_path, monkeypatch, capsys, words, message):
    file = written(SMALL)
    monkeypatch.chdir(tmp_path)
    before = everything(tmp_path)
    assert study.main([str(file) if word == "FILE" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err
    assert everything(tmp_path) == before


def test_a_study_that_is_done_says_so_and_begins_nothing(written, fake, tmp_path, capsys, monkeypatch):
    """It does not even look for a device."""
    found = read_study(written(SMALL), tmp_path / "runs")
    for job in found.jobs:
        record(job)
    monkeypatch.setattr("lottery.study.slots.find_slots", lambda *_: pytest.fail("a device is looked for"))
    before = everything(tmp_path)
    assert study.main([str(tmp_path / "study.toml"), "--save_dir", str(found.save_dir), "--no_report"]) == 0
    assert capsys.readouterr().out == "All 5 runs are done\n" and fake[0] == []
    assert everything(tmp_path) == before
