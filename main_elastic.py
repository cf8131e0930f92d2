"""Transfer a ticket to a deeper or shallower network, without another search; `python main_elastic.py --help`."""

import sys
from collections.abc import Sequence

from lottery.cli import elastic as cli
from lottery.cli.script import run_script
from lottery.elastic.config import ElasticConfig
from lottery.terminal import print_lines


def transfer_ticket(config: ElasticConfig) -> None:
    """Read the source's ticket, map units to units, stretch or squeeze it, write the target's ticket."""
    from lottery.checkpointing.resume import keep_command, open_run
    from lottery.elastic.mapping import read_mapping
    from lottery.elastic.networks import build_members
    from lottery.elastic.run import report, ticket_file, transfer_settings, write_ticket
    from lottery.elastic.transfer import load_source, transfer
    from lottery.tickets.load import TicketFiles

    files = TicketFiles.read(config.init_dir, config.mask_dir)
    source, target = build_members(config, files.init)
    mapping = read_mapping(source.family, target.family, config.mapping.order, config.mapping.block_mapping)
    loaded = load_source(config, files, source)
    ticket = transfer(config, loaded.ticket, source, target, mapping)

    settings = transfer_settings(config, loaded, mapping)
    with open_run(config.run, settings, list(config.files.values())) as resume_point:
        if not resume_point.saved:
            write_ticket(config, ticket, settings, loaded)
        keep_command(ticket_file(config), resume_point, config.run)
        notes = [*loaded.description, *loaded.notes, *resume_point.notes]
        lines = report(config, settings, (loaded.ticket.mask, source), (ticket.mask, target))
        print_lines(*(f"note: {note}" for note in notes), *lines)


def work(argv: Sequence[str] | None) -> None:
    transfer_ticket(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
