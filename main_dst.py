"""Prune a network while it trains, in one training; `python main_dst.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.cli import dst as cli
from lottery.cli.script import run_script
from lottery.sparse_training.config import SparseTrainingConfig


def find_ticket(config: SparseTrainingConfig) -> None:
    """Train once under a mask that changes; the last mask and the rewound weights are the ticket."""
    from lottery.sparse_training.run import SparseTraining
    from lottery.tickets.load import load_ticket
    from lottery.training.context import build_context

    context = build_context(config.training, config.prune_classifier, prune_also=config.prune_also)
    ticket = load_ticket(config.ticket, context)  # what it begins with: the dense network, if none is given
    SparseTraining(config, context, ticket).run()


def work(argv: Sequence[str] | None) -> None:
    find_ticket(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
