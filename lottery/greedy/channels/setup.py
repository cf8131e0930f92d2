"""What a selection of channels works with, from its flags: layers, weights, examples, iterations; each checked."""

import argparse
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx

from dataset import random_subset, to_input
from lottery.greedy.channels.budgets import Layer, asked_layers, plan
from lottery.greedy.channels.groups import layers_of, trace
from lottery.greedy.names import GREEDY
from lottery.tickets.load import TicketFiles
from lottery.training.context import TrainingContext
from lottery.training.precision import matmul_precision
from lottery.training.recipe import steps_per_epoch
from pruner import Ticket
from utils import InputError, RandomStream, generator

MOST_EXAMPLES = 1024  # to select by, where --select_examples does not say


class Point(NamedTuple):
    """One selection of a run."""

    iteration: int | None  # of the pre-training; None for given weights
    by: str  # greedy.GREEDY or one of greedy.BASELINES


@dataclass(frozen=True)
class Setting:
    """What is selected from, where, when, and by which examples."""

    network: fx.GraphModule  # the trace of the bench's model, on the same parameters
    layers: dict[str, Layer]  # by their convolutions, front to back
    iterations: tuple[int | None, ...]  # of the pre-training, to select at; (None,) for given weights
    baselines: tuple[str, ...]  # selections to make beside each greedy one
    given: Ticket | None  # the trained network of --init_dir, under its mask
    origin: dict | None  # where that comes from
    examples: Tensor  # int64 (n,) to select by
    notes: list[str]

    @property
    def points(self) -> tuple[Point, ...]:
        """The selections in their order: the greedy ones first, which thus have the same numbers without the others."""
        return tuple(Point(iteration, by) for by in (GREEDY, *self.baselines) for iteration in self.iterations)


def setting_of(args: argparse.Namespace, context: TrainingContext) -> Setting:
    """InputError where flags, files and network do not go together."""
    network = trace(context.model)
    layers = plan(layers_of(context.model, network), asked_layers(args.layers), args.keep, args.arch)
    check_trace(network, context)
    files = TicketFiles.read(args.init_dir, None)
    given, notes = given_weights(files, context)
    iterations, examples = iterations_of(args, context), examples_of(args, context)
    return Setting(network, layers, iterations, args.baselines, given, files.origin, examples, notes)


def check_trace(network: fx.GraphModule, context: TrainingContext) -> None:
    """InputError if the traced network is not the network: then what was found of its layers does not hold."""
    images = to_input(context.train.images[:4])
    with torch.no_grad(), matmul_precision(context.device, "fp32"):
        expected, got = context.model.eval()(images), network.eval()(images)
    if not torch.allclose(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise InputError("the layers of this network cannot be found: its trace by torch.fx computes something else")


def given_weights(files: TicketFiles, context: TrainingContext) -> tuple[Ticket | None, list[str]]:
    """The trained network of --init_dir, under its mask, and what there is to say about it."""
    if not files.init:
        return None, []
    weights, mask, notes = files.init.trained_weights(context.model)
    notes += files.init.check_data(*context.contents.values(), context.split.validation)
    return Ticket(mask, weights), notes


def iterations_of(args: argparse.Namespace, context: TrainingContext) -> tuple[int | None, ...]:
    """When to select; (None,) for given weights. InputError for an iteration beyond the pre-training's end."""
    if args.init_dir:
        return (None,)
    end = args.epochs * steps_per_epoch(len(context.whole), args.batch_size)
    if args.prune_at and args.prune_at[-1] > end:
        raise InputError(
            f"--prune_at {args.prune_at[-1]} is beyond the end of the pre-training: --epochs {args.epochs} are {end} "
            "iterations"
        )
    return args.prune_at or (end,)


def examples_of(args: argparse.Namespace, context: TrainingContext) -> Tensor:
    """The examples of the training split to select by, int64 (n,)."""
    there, wanted = len(context.whole), args.select_examples
    if wanted and wanted > there:
        raise InputError(f"--select_examples {wanted} is more than the {there} examples that train")
    wanted = wanted or min(MOST_EXAMPLES, there)
    return random_subset(context.whole, wanted, generator(args.seed, purpose=RandomStream.CHANNELS))
