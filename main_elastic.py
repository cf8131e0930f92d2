"""main_elastic"""

import sys
from collections.abc import Sequence

from lottery.cli import elastic as cli
from lottery.cli.script import run_script


def work(argv: Sequence[str] | None) -> None:
    args = cli.read_flags(argv)

    from lottery.elastic.run import transfer_ticket

    transfer_ticket(args)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_elastic.py", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
