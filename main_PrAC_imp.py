"""Find lottery tickets on critical examples ("Efficient Lottery Ticket Finding: Less Data is More", ICML 2021).

The rounds are those of main_imp.py (lottery/search/imp.py: train, prune, rewind). What differs is which examples a
round trains on, and that a round ends as soon as the mask has settled. The same command again resumes a run.
`python main_PrAC_imp.py --help` has the flags.
"""

import sys
from collections.abc import Sequence

from lottery.cli import prac_imp as cli
from lottery.cli.script import run_script
from lottery.search.config import PracConfig


def find_tickets(config: PracConfig) -> None:
    """Train on the PrAC set, prune, rewind, choose the next PrAC set (Algorithm 1 of the paper), and again."""
    from lottery.search.control_sets import build_control_sets
    from lottery.search.examples import ExampleSelection, given_sets
    from lottery.search.imp import ImpSearch
    from lottery.search.prac_sets import PracSets
    from lottery.search.reference_run import find_reference_run
    from lottery.search.settings import search_settings
    from lottery.tickets.load import load_ticket
    from lottery.training.context import build_context

    reference = find_reference_run(config.reference, config.pruning.pruning_times)  # a control has sets as large
    context = build_context(config.training, config.pruning.prune_classifier, prune_also=config.pruning.prune_also)
    ticket = load_ticket(config.ticket, context)  # of round 0: the dense network, if none is given
    settings = search_settings(config, context, ticket, reference)
    examples: ExampleSelection
    if config.prac_set:
        examples = given_sets(config, context)
    elif reference:
        examples = build_control_sets(config.members, config.ccs_beta, reference, context)
    else:
        examples = PracSets.from_config(config, context)
    ImpSearch(config, context, ticket, examples, settings, reference).run()


def work(argv: Sequence[str] | None) -> None:
    find_tickets(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
