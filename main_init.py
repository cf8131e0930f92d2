"""Prune a network at once, without a search: score its weights and keep the highest; `python main_init.py --help`."""

import sys
from collections.abc import Sequence

from lottery.cli import init as cli
from lottery.cli.script import run_script
from lottery.pruning_at_init.config import PruningAtInitConfig
from lottery.terminal import print_lines


def find_ticket(config: PruningAtInitConfig) -> None:
    """Score every weight where the network stands, keep those that score highest, write the ticket."""
    from lottery.checkpointing.resume import keep_command, open_run
    from lottery.checkpointing.run_directory import RunDirectory
    from lottery.pruning_at_init.pruning import prune_at_init
    from lottery.pruning_at_init.run import pruning_settings, read_inputs, report, write_ticket, written_mask

    inputs = read_inputs(config)  # weights to score, examples to score them on, how many to keep
    settings = pruning_settings(inputs)
    with open_run(config.run, settings, config.inputs) as resume_point:
        mask = written_mask(resume_point)
        if mask is None:
            mask = prune_at_init(inputs)
            write_ticket(inputs, mask, settings)
        keep_command(RunDirectory(config.run.save_dir).checkpoint(None), resume_point, config.run)
        print_lines(*report(inputs, mask, resume_point))


def work(argv: Sequence[str] | None) -> None:
    find_ticket(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, cli.SCRIPT, argv, goes_on=False, out_of_memory="A smaller --batch_size needs less")


if __name__ == "__main__":
    sys.exit(main())
