"""Compare runs in one report: accuracy against sparsity, what it cost, the PrAC sets, the masks; whether tickets are
stable and robust; and how much pre-training greedy selection of neurons or channels needs.

    python report.py runs/imp_0 runs/imp_1 runs/PrAC_0 runs/PrAC_1 runs/retrain_0 --output report

Takes the directories of any runs: searches, finished or not, retrained tickets, directories of the 2021 code. A folder
that is no run, such as a study's --save_dir, stands for all runs within it. Several seeds of a method are averaged.
Runs of main_greedy.py, main_channels.py and main_stability.py have chapters of their own. Writes report.html, which
needs no other file, and the same as report.md with figures/ and tables/. A run that cannot be read is named and left
out. Exit status 0; 2 if there is nothing to report.
"""

from collections.abc import Sequence

from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli import checks
from lottery.cli.configs import from_flags
from lottery.cli.parser import Parser
from lottery.cli.types import not_negative, path
from lottery.reports.config import ReportConfig
from utils import InputError


def parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "runs", type=path, nargs="+", metavar="RUN", help="a run's directory, its --save_dir, or a folder of runs"
    )
    parser.add_argument(
        "--output", type=path, default=ReportConfig.output, metavar="DIR", help="directory for the report"
    )
    parser.add_argument(
        "--margin",
        type=not_negative,
        default=ReportConfig.margin,
        help="points of test accuracy by which a ticket may fall short and still count as winning or equal",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="METHOD",
        help="also compare all methods with this one, seed by seed; its name is that in the report, such as "
        "'static, ERK'. May be given several times",
    )
    parser.add_argument(
        "--data", type=path, metavar="DIR", help="directory of the images, if not where the runs had it"
    )
    return parser


def read_config(argv: Sequence[str] | None) -> ReportConfig:
    """The flags; InputError for an --output that cannot be used."""
    args = parser().parse_args(argv)
    checks.check_directory("--output", args.output)
    if RunDirectory(args.output).summary.exists():
        raise InputError(f"--output {args.output} holds a run: a report needs a directory of its own")
    return from_flags(ReportConfig, args)
