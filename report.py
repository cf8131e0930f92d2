"""Compare runs in one report; `python report.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.cli import report as cli
from lottery.cli.script import run_script


def work(argv: Sequence[str] | None) -> None:
    config = cli.read_config(argv)

    from lottery.reports.build import make_report

    make_report(config)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "report.py", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
