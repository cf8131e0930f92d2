"""The lines that a study prints, and its estimate of what remains."""

import re

import pytest

import study
from lottery.study import durations, log
from lottery.study.durations import Durations, duration, rough
from lottery.study.job_states import log_file
from lottery.study.study_file import read_study
from tests.study.samples import SMALL

LINE = re.compile(r"\d\d-\d\d \d\d:\d\d  (.*)")


def lines_of(out):
    """Printed lines, without the time of day; lines that go on have none."""
    return [found[1] if (found := LINE.fullmatch(line)) else line for line in out.splitlines()]


def run(written, tmp_path, capsys, expect):
    words = [str(written(SMALL)), "--save_dir", str(tmp_path / "runs"), "--gpu", "--jobs", "2", "--no_report"]
    assert study.main(words) == expect
    return lines_of(capsys.readouterr().out)


def test_each_run_has_its_line_and_the_end_its_counts(written, fake, tmp_path, capsys):
    lines = run(written, tmp_path, capsys, 0)
    assert lines[0] == "5 runs; 5 to run, 2 at a time" and lines[-1] == "5 runs: 5 done; 0 s"
    numbers, names = zip(
        *(re.match(r"(\d) of 5  (\S+): done in 0 s", line).groups() for line in lines[1:-1]), strict=True
    )
    assert numbers == tuple("12345")
    assert set(names) == {str(job.save_dir.relative_to(tmp_path / "runs")) for job, _ in fake[0]}


def test_a_failure_is_told_with_its_message_and_its_log(written, fake, tmp_path, capsys):
    fake[1].add("IMP")
    lines = run(written, tmp_path, capsys, 1)
    place = next(number for number, line in enumerate(lines) if "seed_0/IMP: failed" in line)
    told = " ".join(line.strip() for line in lines[place : place + 3])
    assert "failed after 0 s, exit status 1" in told and "main_imp.py: error: it is broken" in told
    assert f"    log: {tmp_path}/runs/seed_0/IMP.log" in lines
    assert any("seed_0/IMP_ticket_2: left out, it needs the ticket of IMP" in line for line in lines)
    assert lines[-1] == "5 runs: 3 done, 1 failed, 1 left out; 0 s"
    (failed,) = (job for job, _ in fake[0] if job.save_dir.name == "IMP")
    assert log_file(failed).read_text().endswith("it is broken\n\nstudy.py: exit status 1\n")


def test_a_line_keeps_to_80_columns():
    parts = ["failed after 3 s", "exit status 2", "words " * 30, "x" * 100]
    lines = log.laid_out("11-29 03:50  1 of 2  seed_0/IMP:", parts)
    assert [line for line in lines if len(line) > 80] == ["    " + "x" * 100]
    assert " ".join(" ".join(lines).split()).count("words") == 30


# --- estimates --------------------------------------------------------------------------------------------------------


def test_what_remains_is_told_from_runs_of_the_same_method(quick):
    """The search takes 30 s, a training of a ticket 10 s, whichever ticket and seed it is."""
    jobs = {str(job.save_dir.relative_to(quick.save_dir)): job for job in quick.jobs}
    known = Durations(quick.jobs)
    known.add(jobs["seed_0/IMP"], 20)
    known.add(jobs["seed_0/IMP"], 40)
    left = [jobs["seed_1/IMP"], jobs["seed_1/IMP_ticket_1"]]
    assert known.remaining(left, {}, 1) is None, "no ticket has been trained yet"
    known.add(jobs["seed_0/IMP_ticket_2"], 10)
    assert known.remaining(left, {}, 1) == 40
    assert known.remaining(left, {jobs["seed_1/IMP_ticket_2"]: 4}, 1) == 46
    assert known.remaining(left, {jobs["seed_1/IMP_ticket_2"]: 400}, 1) == 40
    assert known.remaining(left, {}, 2) == 30, "the longest one is not shared"
    assert known.remaining([jobs["seed_1/random_pruning"]], {}, 1) is None, "another method"
    assert known.remaining([], {}, 1) is None


def test_a_run_that_had_been_begun_tells_nothing(written, tmp_path):
    found = read_study(written(SMALL), tmp_path / "runs")
    search = next(job for job in found.jobs if job.save_dir.name == "IMP")
    search.save_dir.mkdir(parents=True)
    (search.save_dir / "metrics.jsonl").write_text("")
    known = Durations(found.jobs)
    known.add(search, 1)
    assert known.remaining([search], {}, 1) is None


def test_a_method_is_a_command_without_its_seed(quick):
    methods = {job.save_dir.name: durations.method(job) for job in quick.jobs}
    assert methods["IMP"] != methods["random_pruning"] and methods["IMP_ticket_1"] == methods["IMP_ticket_2"]
    assert len({durations.method(job) for job in quick.jobs if job.save_dir.name == "IMP"}) == 1


@pytest.mark.parametrize(
    "seconds, exact, about",
    [
        (0.2, "0 s", "10 s"),
        (59.6, "1 min 0 s", "60 s"),
        (148, "2 min 28 s", "2 min"),
        (3599.7, "1 h 0 min", "60 min"),
        (7500, "2 h 5 min", "2.1 h"),
        (86399, "1 d 0 h", "24.0 h"),
        (200000, "2 d 8 h", "2 d 8 h"),
    ],
)
def test_times_in_words(seconds, exact, about):
    assert (duration(seconds), rough(seconds)) == (exact, about)
