"""Run a study: searches and trainings for every combination of methods, data, networks and seeds, then their report.

    python study.py studies/digits.toml

Several runs at a time: one on each GPU, else --jobs of them on the CPU, which share its cores. A study that was ended
goes on when the same command is given again; what is done is not done again. A run that fails stops no other.
"""

from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, path, positive_int


def parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("file", type=path, metavar="FILE.toml", help="what to run; grid.py says what it may hold")
    add("--save_dir", type=path, help="directory of all runs; the file's own if not given")
    add(
        "--jobs",
        type=positive_int,
        help="runs at a time on the CPU, which share its cores (OMP_NUM_THREADS, if "
        "set, is the number of threads of each); one for every core if not given",
    )
    add(
        "--gpu",
        type=count_from_0,
        nargs="*",
        help="CUDA devices to use, a run at a time on each "
        "(0 0: two on the first); all that torch can use if not given; none if empty: the CPU",
    )
    add("--slurm", type=path, metavar="FILE.sh", help="write a SLURM array script instead of running anything")
    add("--no_report", action="store_true", help="leave the report out")
    return parser
