"""report"""

import sys
from collections.abc import Sequence

from lottery.cli import checks
from lottery.cli import report as cli
from lottery.cli.script import run_script


def work(argv: Sequence[str] | None) -> None:
    args = cli.parser().parse_args(argv)
    checks.check_directory("--output", args.output)

    from lottery.reports.build import ReportConfig, make_report

    make_report(ReportConfig(args.runs, args.output, args.margin, args.data))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "report.py", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
