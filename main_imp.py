"""Find lottery tickets by iterative magnitude pruning with rewinding; `python main_imp.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.cli import imp as cli
from lottery.cli.script import run_script
from lottery.search.config import ImpConfig


def find_tickets(config: ImpConfig) -> None:
    """Train on all examples, prune, rewind, and again: each round leaves a ticket."""
    from lottery.search.examples import FixedSets, given_sets
    from lottery.search.imp import ImpSearch
    from lottery.search.reference_run import find_reference_run
    from lottery.search.settings import search_settings
    from lottery.tickets.load import load_ticket
    from lottery.training.context import build_context

    reference = find_reference_run(config.reference, config.pruning.pruning_times)  # a control takes its steps
    context = build_context(config.training, config.pruning.prune_classifier, prune_also=config.pruning.prune_also)
    ticket = load_ticket(config.ticket, context)  # of round 0: the dense network, if none is given
    settings = search_settings(config, context, ticket, reference)
    examples = given_sets(config, context) if config.prac_set else FixedSets([context.training_indices])
    ImpSearch(config, context, ticket, examples, settings, reference).run()


def work(argv: Sequence[str] | None) -> None:
    find_tickets(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
