"""Run a study: searches and trainings for every combination of methods, data, networks and seeds, then their report.

    python study.py studies/digits.toml

Several runs at a time: one on each GPU, else --jobs of them on the CPU, which share its cores. A study that was ended
goes on when the same command is given again; what is done is not done again. A run that fails stops no other.
"""

import shlex
import sys
from collections.abc import Sequence

from lottery.cli import flags
from utils import RunError, run_script


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    add("file", type=flags.path, metavar="FILE.toml", help="what to run; grid.py says what it may hold")
    add("--save_dir", type=flags.path, help="directory of all runs; the file's own if not given")
    add(
        "--jobs",
        type=flags.positive_int,
        help="runs at a time on the CPU, which share its cores (OMP_NUM_THREADS, if "
        "set, is the number of threads of each); one for every core if not given",
    )
    add(
        "--gpu",
        type=flags.count_from_0,
        nargs="*",
        help="CUDA devices to use, a run at a time on each "
        "(0 0: two on the first); all that torch can use if not given; none if empty: the CPU",
    )
    add("--slurm", type=flags.path, metavar="FILE.sh", help="write a SLURM array script instead of running anything")
    add("--no_report", action="store_true", help="leave the report out")
    return parser


def work(argv: Sequence[str] | None) -> None:
    args = parser().parse_args(argv)

    from lottery.checkpointing.atomic_file import writing
    from lottery.study.config import read_study
    from lottery.study.runner import Runner, check_jobs, places_of, slurm_script

    study = read_study(args.file, args.save_dir)
    flags.check_directory("--save_dir", study.save_dir)
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
