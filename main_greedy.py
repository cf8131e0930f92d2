"""Select neurons greedily along the training of a two-layer network; `python main_greedy.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.checkpointing import overwrite_flag
from lottery.cli import greedy as cli
from lottery.cli.script import run_script
from lottery.greedy.neurons.config import NeuronSelectionConfig


def select_neurons(config: NeuronSelectionConfig) -> None:
    """Pre-train; at each iteration asked for select and fine-tune (Wolfe et al., arXiv 2108.00259); compare."""
    from lottery.greedy.neurons.run import NeuronSelectionRun
    from lottery.greedy.neurons.setup import build_setup

    NeuronSelectionRun(config, build_setup(config)).run()


def work(argv: Sequence[str] | None) -> None:
    configs = cli.read_configs(argv)  # one for each size of the training subset
    overwrite_flag.expect(len(configs))
    for config in configs:
        select_neurons(config)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv, out_of_memory="A smaller --memory needs less")


if __name__ == "__main__":
    sys.exit(main())
