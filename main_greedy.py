"""main_greedy"""

import sys
from collections.abc import Sequence

from lottery.cli import greedy as cli
from lottery.cli.script import run_script


def work(argv: Sequence[str] | None) -> None:
    args = cli.read_flags(argv)

    from lottery.greedy.neurons.run import discover

    for run in cli.runs_of(args):
        discover(run)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_greedy.py", argv, out_of_memory="A smaller --memory needs less")


if __name__ == "__main__":
    sys.exit(main())
