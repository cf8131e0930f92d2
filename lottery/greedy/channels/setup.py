"""What a run of channel selection works with: layers, weights, examples and the order of its selections."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx

from dataset import random_subset, to_input
from lottery.channels.groups import find_groups
from lottery.channels.trace import trace
from lottery.checkpointing.run_settings import run_settings
from lottery.greedy.channels.budgets import PlannedLayer, parse_layers, plan_layers
from lottery.greedy.channels.config import ChannelSelectionConfig
from lottery.greedy.names import GREEDY
from lottery.tickets.load import TicketFiles, checksum
from lottery.tickets.ticket_file import check_weight_mask
from lottery.training.context import TrainingContext
from lottery.training.precision import matmul_precision
from lottery.training.recipe import steps_per_epoch
from pruner import Ticket
from utils import InputError, RandomStream, generator

DEFAULT_EXAMPLES = 1024  # to select by, or all examples that train if there are fewer


class SelectionRound(NamedTuple):
    """One selection of a run; the fields are keys of its row in the records."""

    iteration: int | None  # of the pre-training; None for given weights
    by: str  # greedy.names.GREEDY or one of BASELINES


@dataclass(frozen=True)
class ChannelSetup:
    """From what, where, when, and by which examples channels are selected."""

    traced: fx.GraphModule  # the trace of the context's model, on the same parameters
    layers: tuple[PlannedLayer, ...]  # front to back
    rounds: tuple[SelectionRound, ...]  # round k, from 1 on, makes the selection rounds[k - 1]
    given: Ticket | None  # the trained network of --init_dir, under its mask
    origin: dict | None  # the origin of `given`, for the records
    examples: Tensor  # int64 (n,) to select by
    settings: dict
    notes: list[str]

    @property
    def iterations(self) -> set[int]:
        """The iterations of the pre-training to select at."""
        return {each.iteration for each in self.rounds if each.iteration is not None}


def build_setup(config: ChannelSelectionConfig, context: TrainingContext) -> ChannelSetup:
    """InputError where flags, files and network do not go together."""
    traced, budget = trace(context.model), config.budget
    arch = config.training.model.arch
    layers = plan_layers(find_groups(context.model, traced), parse_layers(budget.layers), budget.keep, arch)
    check_trace(traced, context)
    files = TicketFiles.read(config.init_dir, None)
    given, notes = given_weights(files, context)
    weights = {"weights checksum": checksum(given)} if given else {}
    return ChannelSetup(
        traced=traced,
        layers=tuple(layers.values()),
        rounds=selection_rounds(selection_iterations(config, context), config.baselines),
        given=given,
        origin=files.origin,
        examples=selection_examples(config, context),
        settings=run_settings(config.training.run.script, config, contents=context.contents | weights),
        notes=notes,
    )


def check_trace(traced: fx.GraphModule, context: TrainingContext) -> None:
    """InputError if the trace does not compute what the network does, so that layers found in it are not valid."""
    images = to_input(context.train.at(slice(4)))
    with torch.no_grad(), matmul_precision(context.device, "fp32"):
        expected, got = context.model.eval()(images), traced.eval()(images)
    if not torch.allclose(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise InputError("the layers of this network cannot be found: its trace by torch.fx computes something else")


def given_weights(files: TicketFiles, context: TrainingContext) -> tuple[Ticket | None, list[str]]:
    """The trained network of --init_dir under its mask, None if there is none, and notes on it."""
    if not files.init:
        return None, []
    check_weight_mask(files.init, single=True)
    weights, mask, notes = files.init.trained_weights(context.model)
    contents = context.contents
    notes += files.init.check_data(contents["data checksum"], contents["split checksum"], context.split.validation)
    return Ticket(mask, weights), notes


def selection_iterations(config: ChannelSelectionConfig, context: TrainingContext) -> tuple[int | None, ...]:
    """The iterations to select at; (None,) for given weights. InputError for one beyond the end of the pre-training."""
    if config.init_dir:
        return (None,)
    recipe = config.training.recipe
    end = recipe.epochs * steps_per_epoch(len(context.training_indices), recipe.batch_size)
    if config.prune_at and config.prune_at[-1] > end:
        raise InputError(
            f"--prune_at {config.prune_at[-1]} is beyond the end of the pre-training: --epochs {recipe.epochs} are "
            f"{end} iterations"
        )
    return config.prune_at or (end,)


def selection_rounds(iterations: tuple[int | None, ...], baselines: tuple[str, ...]) -> tuple[SelectionRound, ...]:
    """The greedy selections first: their rounds have the same numbers, and so the same draws, without baselines."""
    return tuple(SelectionRound(iteration, by) for by in (GREEDY, *baselines) for iteration in iterations)


def selection_examples(config: ChannelSelectionConfig, context: TrainingContext) -> Tensor:
    """Indices of the training examples to select by, int64 (n,), drawn with the seed."""
    available, wanted = len(context.training_indices), config.selection.select_examples
    if wanted and wanted > available:
        raise InputError(f"--select_examples {wanted} is more than the {available} examples that train")
    wanted = wanted or min(DEFAULT_EXAMPLES, available)
    return random_subset(context.training_indices, wanted, generator(context.seed, purpose=RandomStream.CHANNELS))
