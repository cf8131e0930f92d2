"""Measure the accuracy of trained networks under attack; `python main_robustness.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.analysis.config import RobustnessConfig
from lottery.cli import robustness as cli
from lottery.cli.script import run_script


def measure_robustness(config: RobustnessConfig) -> None:
    """Attack the best network of every run, and write its accuracies into the run's directory."""
    from lottery.analysis.robustness_run import attack_all, attack_targets, prepare_device

    device = prepare_device(config.device)
    targets = attack_targets(config, device)  # refused, if at all, before any attack
    attack_all(targets, config, device)


def work(argv: Sequence[str] | None) -> None:
    measure_robustness(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "main_robustness.py", argv, out_of_memory="Fewer runs on the same device need less")


if __name__ == "__main__":
    sys.exit(main())
