"""main_init"""

import sys
from collections.abc import Sequence

from lottery.cli import init as cli
from lottery.cli.script import run_script


def work(argv: Sequence[str] | None) -> None:
    args = cli.read_flags(argv)

    from lottery.pruning_at_init.run import find_ticket

    find_ticket(args, cli.SCRIPT)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv, goes_on=False, out_of_memory="A smaller --batch_size needs less")


if __name__ == "__main__":
    sys.exit(main())
