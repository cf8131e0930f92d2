"""Run a study: a grid of searches and trainings, then their report; `python study.py --help` has the flags."""

import shlex
import sys
from collections.abc import Container, Sequence
from pathlib import Path

from lottery.cli import study as cli
from lottery.cli.script import run_script
from lottery.study.jobs import Study
from utils import InputError, RunError


def run_study(config: cli.StudyConfig) -> None:
    """Check the whole grid, run what is not done yet, make the report. RunError, at the end, if any run failed.

    With --dry_run or --slurm nothing is run.
    """
    from lottery.study.job_checks import check_jobs
    from lottery.study.study_file import read_study

    assert config.file is not None
    study = read_study(config.file, config.save_dir)
    check_jobs(study)
    if config.dry_run:
        print_states(study, config.commands)
        return
    if config.slurm:
        write_slurm_script(study, config.slurm)
        return
    failed = run_jobs(study, config)
    if not config.no_report:
        report_runs(study, failed)
    if failed:
        reasons = "\n".join(f"  {folder}: {why}" for folder, why in failed.items())
        raise RunError(f"{len(failed)} of {len(study.jobs)} runs failed; the same command tries them again\n{reasons}")


def run_jobs(study: Study, config: cli.StudyConfig) -> dict[Path, str]:
    """Run what is not done; the directories of runs that failed, and why. A study that is done asks for no device."""
    from lottery.study.job_states import unfinished

    waiting = unfinished(study)
    if not waiting:
        report = "" if config.no_report else "; now their report"
        print(f"All {len(study.jobs)} runs are done{report}", flush=True)
        return {}
    if config.cluster:
        from lottery.study.cluster import run_on_cluster

        return run_on_cluster(study, waiting, config.cluster, config.cluster_options, config.jobs, config.gpu)
    from lottery.study.runner import Runner
    from lottery.study.slots import find_slots

    return Runner(study, waiting, find_slots(config.jobs, config.gpu)).run()


def print_states(study: Study, commands: bool) -> None:
    from lottery.study.dry_run import dry_run

    for line in dry_run(study, commands):
        print(line)


def write_new_study(file: Path) -> None:
    """Write a small study to begin with; InputError if the file has come to be meanwhile."""
    from lottery.checkpointing.atomic_file import writing
    from lottery.study.new_study import new_study

    with writing(file):
        try:
            with file.open("x", encoding="utf-8") as opened:
                opened.write(new_study(file))
        except FileExistsError:
            raise InputError(f"--new {file} is there already and stays as it is: give another name") from None
    script = sys.argv[0] if Path(sys.argv[0]).name == "study.py" else "study.py"  # another program may call main()
    command = shlex.join(["python", script, str(file)])
    print(f"{file} is a study to begin with: change it as its comments say. Then")
    print(f"  {command} --dry_run    lists its runs")
    print(f"  {command}              runs them and makes the report")


def write_slurm_script(study: Study, file: Path) -> None:
    from lottery.checkpointing.atomic_file import writing
    from lottery.study.slurm import slurm_script

    script = slurm_script(study)
    with writing(file):
        study.save_dir.mkdir(parents=True, exist_ok=True)  # where its logs go
        file.write_text(script, encoding="utf-8")
    print(f"sbatch {shlex.quote(str(file))} runs {len(study.jobs)} runs")


def report_runs(study: Study, failed: Container[Path]) -> None:
    """Report the runs that are done. A report that cannot be made is no failure of the study."""
    from lottery.reports.build import make_report
    from lottery.reports.config import ReportConfig

    done = [job.save_dir for job in study.jobs if not job.only_makes_ticket and job.save_dir not in failed]
    try:
        if done:
            make_report(ReportConfig(done, study.save_dir / "report"))
    except (InputError, RunError, OSError) as error:
        print(f"study.py: note: there is no report: {error}", file=sys.stderr)


def work(argv: Sequence[str] | None) -> None:
    config = cli.read_config(argv)
    if config.new:
        write_new_study(config.new)
    else:
        run_study(config)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "study.py", argv)


if __name__ == "__main__":
    sys.exit(main())
