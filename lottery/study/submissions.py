"""Which job of which cluster each run of a study was submitted as: `cluster/jobs.jsonl` in the study's directory.

A line a submission, `{"run": "seed_0/IMP", "cluster": "slurm", "job": "1001", "flags": "--epochs 5"}`; the last one of
a run counts.
"""

import json
import shlex
from pathlib import Path

from lottery.study.jobs import Job
from lottery.study.lines import append_line


class Submissions:
    """The submissions of a study, in memory and in their file, to which each is added at once."""

    def __init__(self, study_dir: Path, folder: Path, cluster: str):
        self.study_dir, self.file, self.cluster = study_dir, folder / "jobs.jsonl", cluster
        self.newest = {row["run"]: row for row in read_rows(self.file)}

    def add(self, job: Job, number: str) -> None:
        """A job was submitted under this number. A line that an interrupted process left unfinished is closed first."""
        row = {"run": self.name(job), "cluster": self.cluster, "job": number, "flags": shlex.join(job.flags)}
        append_line(self.file, json.dumps(row))
        self.newest[row["run"]] = row

    def number(self, job: Job) -> str | None:
        """The number of the job's newest submission to this cluster; None if there is none."""
        row = self.newest.get(self.name(job), {})
        return row["job"] if row.get("cluster") == self.cluster else None

    def has_other_flags(self, job: Job) -> bool:
        """Whether the job's newest submission was of a study file that gave it other flags."""
        flags = self.newest.get(self.name(job), {}).get("flags")
        return flags is not None and flags != shlex.join(job.flags)

    def name(self, job: Job) -> str:
        return str(job.save_dir.relative_to(self.study_dir))


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a file, without lines that are damaged; none if there is no file."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := read_row(line))]


def read_row(line: str) -> dict[str, str] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and {"run", "cluster", "job"} <= row.keys() else None
