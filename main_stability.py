"""Measure how stable a ticket is to the noise of SGD; `python main_stability.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.analysis.config import StabilityConfig
from lottery.cli import stability as cli
from lottery.cli.script import run_script


def measure_stability(config: StabilityConfig) -> None:
    """Train two copies of the ticket on different orders of the examples, then measure on the line between them."""
    from lottery.analysis.stability_run import StabilityRun
    from lottery.retraining.run import ticket_to_train
    from lottery.training.context import build_context

    context = build_context(config.training, prunes=False)
    ticket = ticket_to_train(config, context)  # refused, if at all, before the directory is this run's
    StabilityRun(config, context, ticket).run()


def work(argv: Sequence[str] | None) -> None:
    measure_stability(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_stability.py", argv)


if __name__ == "__main__":
    sys.exit(main())
