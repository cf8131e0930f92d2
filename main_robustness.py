"""main_robustness"""

import sys
from collections.abc import Sequence

from lottery.cli import robustness as cli
from lottery.cli.script import run_script


def work(argv: Sequence[str] | None) -> None:
    args = cli.read_flags(argv)

    from lottery.analysis.robustness_run import measure_robustness

    measure_robustness(args)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_robustness.py", argv, out_of_memory="Fewer runs on the same device need less")


if __name__ == "__main__":
    sys.exit(main())
