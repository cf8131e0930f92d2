"""study"""

import shlex
import sys
from collections.abc import Sequence

from lottery.cli import checks
from lottery.cli import study as cli
from lottery.cli.script import run_script
from utils import RunError


def work(argv: Sequence[str] | None) -> None:
    args = cli.parser().parse_args(argv)

    from lottery.checkpointing.atomic_file import writing
    from lottery.study.config import read_study
    from lottery.study.runner import Runner, check_jobs, places_of, slurm_script

    study = read_study(args.file, args.save_dir)
    checks.check_directory("--save_dir", study.save_dir)
    check_jobs(study)
    if args.slurm:
        script = slurm_script(study)
        with writing(args.slurm):
            study.save_dir.mkdir(parents=True, exist_ok=True)  # where its logs go
            args.slurm.write_text(script)
        print(f"sbatch {shlex.quote(str(args.slurm))} runs {len(study.jobs)} runs")
        return
    failed = Runner(study, places_of(args.jobs, args.gpu)).run()
    done = [str(job.save_dir) for job in study.jobs if job.is_run and job.save_dir not in failed]
    if done and not args.no_report:
        import report

        report.main([*done, "--output", str(study.save_dir / "report")])
    if failed:
        told = "\n".join(f"  {folder}: {why}" for folder, why in failed.items())
        raise RunError(f"{len(failed)} of {len(study.jobs)} runs failed; the same command tries them again\n{told}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "study.py", argv)


if __name__ == "__main__":
    sys.exit(main())
