"""main_stability"""

import sys
from collections.abc import Sequence

from lottery.cli import stability as cli
from lottery.cli.configs import ticket_training_config
from lottery.cli.script import run_script
from lottery.retraining.config import RetrainingConfig


def work(argv: Sequence[str] | None) -> None:
    args = cli.read_flags(argv)

    from lottery.analysis.stability_run import measure_stability

    copies = [ticket_training_config(RetrainingConfig, cli.training_of(args, copy), "main_train.py") for copy in (0, 1)]
    measure_stability(args, copies)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_stability.py", argv)


if __name__ == "__main__":
    sys.exit(main())
