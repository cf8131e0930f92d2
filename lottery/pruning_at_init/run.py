"""Find a ticket without a search: score the weights, keep the highest, write the ticket like any other.

The file has what a ticket is used with and checked by, as carry.py's has: how many weights it should keep, the examples
that were looked at and those that validate, and where its weights come from.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dataset import Images, to_input
from lottery.checkpointing.checkpoint import on_cpu, split_state, write
from lottery.checkpointing.resume import open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.configs import command, from_flags, run_config, ticket_config
from lottery.cli.transition import settings
from lottery.pruning_at_init.criteria import CRITERIA, RANKINGS, Ranking, kept_by_iteration, quotas
from lottery.pruning_at_init.scores import SCORES, ScoringInputs
from lottery.tickets.load import TicketFile, TicketFiles, checksum, load_ticket
from lottery.tickets.prac_set_files import GivenSet, check_sets, read_sets, set_notes
from lottery.tickets.save import known_examples, untrained
from lottery.training.config import DataConfig, ModelConfig
from lottery.training.context import ModelAndData, build_model_and_data
from lottery.training.devices import pick_device
from lottery.training.environment import keep_freed_memory, set_determinism
from lottery.training.network_notes import classifier_setting, network_notes
from lottery.training.precision import matmul_precision
from lottery.training.recipe import batches
from models import ARCHITECTURES
from pruner import Mask, Scores, Ticket, count, dense, drop, drop_in_layers, empty_layers, layer_counts, size
from utils import InputError, RandomStream, digest, generator, is_out_of_memory, listed, one_line

ROUNDING = 1e-9  # of the largest score of a layer, in float64


def find_ticket(args: argparse.Namespace, script: str) -> None:
    """Read data, network and weights, score and prune, and write the ticket. InputError before anything is written."""
    keep_freed_memory()
    device = pick_device(args.gpu)
    set_determinism(device, args.deterministic)
    material = build_model_and_data(from_flags(DataConfig, args), from_flags(ModelConfig, args), args.seed, device)
    trained = args.weights == "trained"
    files, ticket, _, notes = load_ticket(ticket_config(args), material, trained)
    whole = dense(material.model, args.prune_classifier)
    if trained:
        files.check_kept(on_cpu(whole), material.model)
    kept = asked_count(args, material, whole)
    given = read_sets(args.prac_set, rounds=1) if args.prac_set else []
    examples = examples_of(args, material, given)
    notes += set_notes(given, vars(args) | material.contents)
    chosen = settings(args, script, material.contents | decided(args, ticket, whole, kept, examples, material))
    directory = RunDirectory(args.save_dir)
    inputs = [args.init_dir, args.prac_set, args.like]
    with open_run(run_config(args, script), chosen, inputs=inputs) as resume_point:
        if resume_point.saved:
            mask = split_state(resume_point.saved["state_dict"])[1]
        else:
            mask = prune_to(args, kept, whole, ticket, examples, material)
            file = untrained(ticket._replace(mask=on_cpu(mask)), chosen, command(args, script))
            write(directory.checkpoint(None), file | origin(files) | known(files, examples, material))
        notes += network_notes(material.model, args.prune_classifier)
        told = [f"note: {note}" for note in (*material.notes, *notes, *resume_point.notes)]
        print(*told, *report(args, mask, directory.checkpoint(None)), sep="\n")


# --- how many, and on which examples ----------------------------------------------------------------------------------


def asked_count(args: argparse.Namespace, material: ModelAndData, whole: Mask) -> int:
    """How many of the prunable weights are to be kept; InputError if they cannot be."""
    weights = size(whole)
    kept = count_like(args.like, material, whole) if args.like else rounded(args, weights)
    asked = next(f"--{name} {value}" for name in ("like", "density", "sparsity") if (value := getattr(args, name)))
    if not 0 < kept < weights:
        raise InputError(f"{asked} keeps {kept:,} of {weights:,} prunable weights: that is no ticket")
    if kept < len(whole) and not args.allow_empty_layers:
        raise InputError(
            f"{asked} keeps {kept:,} of {weights:,} prunable weights, fewer than there are layers, {len(whole)}: some "
            "would have none left, which --allow_empty_layers permits"
        )
    return kept


def rounded(args: argparse.Namespace, weights: int) -> int:
    return round(args.density * weights) if args.density else weights - round(args.sparsity * weights)


def count_like(path: Path, material: ModelAndData, whole: Mask) -> int:
    """How many weights a ticket of this network keeps; a layer that it has no mask for counts as dense."""
    mask = TicketFile(path).mask(material.model)
    if strangers := [name for name in mask if name not in whole]:
        raise InputError(
            f"--like {path} has a mask for {strangers[0]}, which is not pruned here: is --prune_classifier missing?"
        )
    return count(on_cpu(whole) | mask)


def examples_of(args: argparse.Namespace, material: ModelAndData, given: Sequence[GivenSet]) -> Tensor | None:
    """The examples that are looked at, of the `given` set if there is one, in the order of their batches; None for a
    criterion that looks at none.

    The order is drawn with --seed: on disk, one class may follow the other, and a batch of one class has batch norm
    statistics that no training ever sees.
    """
    if not CRITERIA[args.criterion].looks_at_examples:
        return None
    found = material.split.train
    if given:
        (found,) = check_sets(given, found, vars(args) | material.contents)
    if args.score_examples and args.score_examples > len(found):
        raise InputError(f"--score_examples {args.score_examples}: only {len(found)} examples train")
    order = generator(args.seed, purpose=RandomStream.SCORED_EXAMPLES).permutation(len(found))[: args.score_examples]
    return found[torch.from_numpy(order).to(found.device)]


@dataclass(frozen=True)
class Batches:
    """Examples in batches, of which one at a time is made into numbers; a bar is shown if that takes long."""

    data: Images
    indices: Tensor  # int64 (n,)
    size: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for places in tqdm(batches(len(self.indices), self.size), unit="batch", disable=None, leave=False, delay=2):
            batch = self.indices[places]
            yield to_input(self.data.images[batch]), self.data.labels[batch]


# --- pruning ----------------------------------------------------------------------------------------------------------


def prune_to(
    args: argparse.Namespace, kept: int, whole: Mask, ticket: Ticket, examples: Tensor | None, material: ModelAndData
) -> Mask:
    """The mask that keeps exactly so many weights of the ticket's, in --iterations; InputError for an empty layer.

    Inverted, each iteration keeps those with the lowest scores.
    """
    weights = {name: value.to(material.device) for name, value in ticket.weights.items()}
    shown = material.split.train[:2] if examples is None else examples  # where only the shape of an image matters
    data, mask = Batches(material.train, shown, args.batch_size), whole
    for iteration, number in enumerate(kept_by_iteration(size(whole), kept, args.iterations)):
        random = generator(args.seed, round=iteration, purpose=RandomStream.RANDOM_SCORES)
        with matmul_precision(material.device, "fp32"):
            scores = scored(args, ScoringInputs(material.model, weights, mask, data, random))
        check_scores(scores, mask, args)
        if args.inverted:
            scores = {name: -layer for name, layer in scores.items()}
        mask = keep(mask, scores, number, RANKINGS[args.ranking])
        check_layers(mask, iteration, args)
    return mask


def scored(args: argparse.Namespace, subject: ScoringInputs) -> Scores:
    """The criterion's scores; InputError for a network of the user's own that does not compute what they need."""
    try:
        return SCORES[args.criterion](subject)
    except RuntimeError as error:
        if args.arch in ARCHITECTURES or is_out_of_memory(error):
            raise
        raise InputError(f"--criterion {args.criterion} cannot score {args.arch}: {one_line(error)}") from error


def keep(mask: Mask, scores: Scores, number: int, ranking: Ranking) -> Mask:
    """The mask that keeps the `number` highest-scoring of those weights that `mask` keeps, ranked as `ranking` says."""
    if ranking.claim is None:
        return drop(mask, scores, count(mask) - number)
    room = {name: layer["kept"] for name, layer in layer_counts(mask).items()}
    wanted = quotas({name: layer.shape for name, layer in mask.items()}, room, number, ranking.claim)
    return drop_in_layers(mask, scores, {name: room[name] - wanted[name] for name in mask})


def check_scores(scores: Scores, mask: Mask, args: argparse.Namespace) -> None:
    """InputError for scores that rank nothing: those that are not finite, or all 0, or below 0 where that says that the
    criterion is not for this network."""
    left = [scores[name][layer] for name, layer in mask.items()]
    if not all(bool(layer.isfinite().all()) for layer in left):
        raise InputError(f"--criterion {args.criterion} gives weights of {args.arch} scores that are not finite")
    if not any(bool(layer.any()) for layer in left):
        raise InputError(f"--criterion {args.criterion} gives every weight of {args.arch} the score 0: nothing to rank")
    if (networks := CRITERIA[args.criterion].at_least_0) and (below := sum(negative(layer) for layer in left)):
        raise InputError(
            f"--criterion {args.criterion} gives {below:,} of {count(mask):,} weights of {args.arch} scores below 0, "
            f"which mean nothing: it is for networks {networks}"
        )


def negative(scores: Tensor) -> int:
    """How many scores of a layer are below 0 by more than rounding."""
    return int((scores < -ROUNDING * scores.abs().amax()).sum()) if len(scores) else 0


def check_layers(mask: Mask, iteration: int, args: argparse.Namespace) -> None:
    """InputError for a layer without a weight, through which no signal passes but by a shortcut."""
    empty = empty_layers(mask)
    if not empty or args.allow_empty_layers:
        return
    where = f" in iteration {iteration + 1} of {args.iterations}" if args.iterations > 1 else ""
    raise InputError(
        f"--criterion {args.criterion} leaves no weight of {listed(empty, shown=1)}, at {count(mask):,} weights"
        f"{where}: keep more, rank by layer (--ranking), or permit it by --allow_empty_layers"
    )


# --- the file ---------------------------------------------------------------------------------------------------------


def decided(
    args: argparse.Namespace, ticket: Ticket, whole: Mask, kept: int, examples: Tensor | None, material: ModelAndData
) -> dict:
    """What decides the ticket beside flags, data and split: how many weights it keeps of how many and, where that does
    not go without saying, beside which layer; the step that its weights stand at, what they are if they were given, and
    the given set."""
    found = {"kept": kept, "prunable": size(whole), "step": ticket.step} | classifier_setting(material.model)
    if args.init_dir:
        found["ticket checksum"] = checksum(ticket)
    if args.prac_set:
        found["PrAC set of round 0"] = digest(np.sort(examples.cpu().numpy()))
    return found


def origin(files: TicketFiles) -> dict:
    """Where the weights come from, if they were given."""
    return {"source": files.origin} if files.init else {}


def known(files: TicketFiles, examples: Tensor | None, material: ModelAndData) -> dict[str, Tensor]:
    """The examples that weights and mask were found with, if any, and those that validate."""
    looked_at = [] if examples is None else [examples.cpu().numpy()]
    return known_examples([*(file.sequence for file in files.each), *looked_at], material.split.validation)


# --- what the user sees -----------------------------------------------------------------------------------------------


def report(args: argparse.Namespace, mask: Mask, file: Path) -> list[str]:
    """A line for each layer, and one for the whole."""
    layers = layer_counts(mask)
    width = max(map(len, layers))
    lines = [f"{'':{width}}{'kept':>12}{'of':>12}{'density':>9}"]
    for name, layer in layers.items():
        lines.append(f"{name:{width}}{layer['kept']:>12,}{layer['size']:>12,}{layer['kept'] / layer['size']:>9.4f}")
    kept, weights = count(mask), size(mask)
    criterion = f"{args.criterion}, inverted," if args.inverted else args.criterion
    return [
        *lines,
        f"{criterion} keeps {kept:,} of {weights:,} prunable weights of {args.arch}, density {kept / weights:.4f}; the "
        f"ticket is in {file}",
    ]
