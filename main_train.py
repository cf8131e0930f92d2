"""Train one lottery ticket, or the dense network, on all the training data; `python main_train.py --help`."""

import sys
from collections.abc import Sequence

from lottery.cli import train as cli
from lottery.cli.script import run_script
from lottery.retraining.config import RetrainingConfig


def train_ticket(config: RetrainingConfig) -> None:
    """Load the ticket, or make its control, and train it by the whole schedule or by a rule."""
    from lottery.retraining.run import TicketTraining, ticket_to_train
    from lottery.training.context import build_context

    context = build_context(config.training, order_seed=config.order_seed, prunes=False)
    ticket = ticket_to_train(config, context)
    TicketTraining(config, context, ticket).run()


def work(argv: Sequence[str] | None) -> None:
    train_ticket(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
