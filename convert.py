"""Write a ticket in another form; `python convert.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.cli import convert as cli
from lottery.cli.script import run_script
from lottery.formats.config import ConversionConfig
from lottery.terminal import print_lines


def convert(config: ConversionConfig) -> None:
    """Write the ticket and print what was written."""
    from lottery.checkpointing.atomic_file import parents_made
    from lottery.formats.registry import writer
    from lottery.formats.sizes import size_lines
    from lottery.tickets.export import exported_ticket

    ticket = exported_ticket(config.ticket, config.trained)
    with parents_made(config.output):
        lines = writer(config.to)(ticket, config) or []
    print_lines(*size_lines(ticket, config), *lines)


def work(argv: Sequence[str] | None) -> None:
    convert(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "convert.py", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
