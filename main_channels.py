"""main_channels"""

import sys
from collections.abc import Sequence

from lottery.cli import channels as cli
from lottery.cli.script import run_script


def work(argv: Sequence[str] | None) -> None:
    args = cli.read_flags(argv)

    from lottery.greedy.channels.run import discover

    discover(args)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_channels.py", argv)


if __name__ == "__main__":
    sys.exit(main())
