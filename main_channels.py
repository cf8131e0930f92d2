"""Make a small network of a trained one by greedy selection of channels; `python main_channels.py --help`."""

import sys
from collections.abc import Sequence

from lottery.cli import channels as cli
from lottery.cli.script import run_script
from lottery.greedy.channels.config import ChannelSelectionConfig


def select_channels(config: ChannelSelectionConfig) -> None:
    """Pre-train, or take given weights; select channels layer by layer (Ye et al., ICML 2020); fine-tune; slice."""
    from lottery.greedy.channels.run import ChannelSelectionRun
    from lottery.greedy.channels.setup import build_setup
    from lottery.training.context import build_context

    context = build_context(config.training)
    setup = build_setup(config, context)
    ChannelSelectionRun(config, context, setup).run()


def work(argv: Sequence[str] | None) -> None:
    select_channels(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
