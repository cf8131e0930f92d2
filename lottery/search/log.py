"""What a search shows while it goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.run_settings import RunConfig
from lottery.search.early_stop import EarlyStop
from lottery.search.examples import ExampleSelection
from lottery.tickets.load import LoadedTicket
from lottery.training.context import TrainingContext
from lottery.training.costs import Vanilla, cost_lines
from lottery.training.network_notes import network_notes
from lottery.training.plots import draw_curves
from lottery.training.tables import EPOCH_COLUMNS, epoch_cells, retraining_lines, round_lines, round_table
from lottery.training.training_run import TrainingRun, plan_lines, short_warnings
from pruner import density

Ledger = tuple[Vanilla, Mapping[str, float]]  # what savings are counted against, and the dense network's FLOPs


def setup_notes(loaded: LoadedTicket, examples: ExampleSelection, context: TrainingContext) -> list[str]:
    """Notes on what the search begins with: its ticket, its examples, and what of the network it does not prune."""
    about_network = network_notes(context.model, context.prune_classifier)
    return [*loaded.description, *loaded.notes, *examples.notes, *about_network]


def round_begins(training: TrainingRun, rounds: Sequence[dict], planned: int, context: TrainingContext) -> None:
    """The progress bar's total, as far as it is known before rounds stop early, and the plan of this round."""
    done = sum(row["steps"] for row in rounds)
    left = training.planned_steps * (planned - training.round) - training.steps_left_out
    context.progress.expect(done + left, training.position())
    context.progress.log("", *plan_lines(training, context))


def epoch_ends(row: dict, training: TrainingRun, early_stop: EarlyStop, context: TrainingContext) -> None:
    context.progress.log_row(
        EPOCH_COLUMNS, epoch_cells(row, training.recipe.epochs, distances=early_stop.eps is not None)
    )


def round_ends(
    training: TrainingRun, rounds: Sequence[dict], early_stop: EarlyStop, ledger: Ledger, context: TrainingContext
) -> None:
    """The newest of the finished rounds, what all of them cost, and what is odd about it."""
    context.progress.log(*round_lines(rounds[-1], len(context.training_indices)), *cost_lines(rounds, *ledger))
    warnings = short_warnings(training) + early_stop.warnings()
    context.progress.log(*(f"warning: {training.describe()}: {line}" for line in warnings))


def draw_round(training: TrainingRun, path: Path) -> None:
    """The round's accuracies by epoch, as a picture."""
    sparsity = 100 * (1 - density(training.ticket.mask))
    draw_curves(training.history, path, f"round {training.round}, {sparsity:.2f} % sparse")


def search_ends(
    training: TrainingRun, rounds: Sequence[dict], ledger: Ledger, run: RunConfig, context: TrainingContext
) -> None:
    """The table of finished rounds, if there are any, where the newest ticket is, and how to train it."""
    if not rounds:
        return
    sparsity = 1 - density(training.ticket.mask)
    context.progress.log("", *round_table(rounds), *cost_lines(rounds, *ledger))
    ticket = RunDirectory(run.save_dir).checkpoint(training.round)
    context.progress.log(f"the newest ticket, {100 * sparsity:.2f} % sparse, is in {ticket}")
    context.progress.log(*retraining_lines(run.retraining_command(ticket, f"_{training.round}")))
