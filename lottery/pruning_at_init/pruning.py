"""Score the weights where the network stands, and keep exactly as many as are asked for, those that score highest.

In `iterations` rounds, without training in between, each by the scores of what is left.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lottery.bases.basis import Basis
from lottery.bases.blocks import in_whole_rows, of_rows, rows, units
from lottery.checkpointing.checkpoint import on_cpu
from lottery.patterns import Pattern, kept_by_pattern, misfit, prune_to_pattern
from lottery.pruning_at_init.config import PruningAtInitConfig
from lottery.pruning_at_init.criteria import CRITERIA, RANKINGS, Ranking, kept_by_iteration
from lottery.pruning_at_init.examples import Batches, ScoredExamples
from lottery.pruning_at_init.scores import SCORES, ScoringInputs, block_scores
from lottery.tickets.layer_quotas import keep_highest_by_layer
from lottery.tickets.load import LoadedTicket
from lottery.tickets.ticket_file import TicketFile
from lottery.training.context import ModelAndData
from lottery.training.precision import matmul_precision
from models import ARCHITECTURES
from pruner import Mask, Scores, count, dense, drop, empty_layers, prunable, size
from utils import InputError, RandomStream, generator, is_out_of_memory, listed, one_line

ROUNDING = 1e-9  # relative to the largest score of a layer; SynFlow's scores are float64


@dataclass(frozen=True)
class PruningInputs:
    """What is pruned: a network with given weights, how many of them are kept, and the examples they are scored on."""

    config: PruningAtInitConfig
    context: ModelAndData
    loaded: LoadedTicket  # of whose ticket the weights count
    kept: int
    examples: ScoredExamples
    basis: Basis | None = None  # in which coefficients are kept and dropped, instead of weights

    @property
    def dense(self) -> Mask:
        """The mask of all prunable weights."""
        return dense(self.context.model, self.config.prune_classifier)

    @property
    def batches(self) -> Batches:
        """The examples to score on; two, for their shape, where the criterion looks at none."""
        indices = self.context.split.train[:2] if self.examples.indices is None else self.examples.indices
        return Batches(self.context.train, indices, self.config.batch_size)


def prune_at_init(inputs: PruningInputs) -> Mask:
    """The mask that keeps exactly `inputs.kept` weights; InputError for useless scores and for an empty layer."""
    config, context, mask = inputs.config, inputs.context, inputs.dense
    weights = {name: value.to(context.device) for name, value in inputs.loaded.ticket.weights.items()}
    basis = inputs.basis and inputs.basis.like(weights)
    number = size(units(mask, config.basis))
    for iteration, kept in enumerate(kept_by_iteration(number, inputs.kept, config.iterations)):
        random = generator(config.run.seed, round=iteration, purpose=RandomStream.RANDOM_SCORES)
        scores = score(config, context, ScoringInputs(context.model, weights, mask, inputs.batches, random, basis))
        pattern = config.pattern and Pattern.parse(config.pattern)
        ranking = RANKINGS[config.ranking]
        mask = prune_to_pattern(mask, scores, pattern) if pattern else keep_highest(mask, scores, kept, ranking)
        check_layers(config, mask, iteration)
    return mask


# --- scores -----------------------------------------------------------------------------------------------------------


def score(config: PruningAtInitConfig, context: ModelAndData, inputs: ScoringInputs) -> Scores:
    """The criterion's scores, of whole rows where those are pruned as one, negated if they are to be inverted.

    InputError for scores that rank nothing, and for a network of the user's own that they cannot be computed of.
    """
    try:
        with matmul_precision(context.device, "fp32"):
            scores = SCORES[config.criterion](inputs)
    except RuntimeError as error:
        if config.model.arch in ARCHITECTURES or is_out_of_memory(error):
            raise
        message = f"--criterion {config.criterion} cannot score {config.model.arch}: {one_line(error)}"
        raise InputError(message) from error
    check_scores(config, scores, inputs.mask)
    if config.basis.in_blocks:
        scores = block_scores(scores, CRITERIA[config.criterion].of_block)
    return {name: -layer for name, layer in scores.items()} if config.inverted else scores


def check_scores(config: PruningAtInitConfig, scores: Scores, mask: Mask) -> None:
    """InputError for scores that rank nothing: scores that are not finite, or all 0, or below 0 where that shows that
    the criterion is not meant for this network."""
    left, criterion, arch = [scores[name][layer] for name, layer in mask.items()], config.criterion, config.model.arch
    if not all(bool(layer.isfinite().all()) for layer in left):
        raise InputError(f"--criterion {criterion} gives weights of {arch} scores that are not finite")
    if not any(bool(layer.any()) for layer in left):
        raise InputError(f"--criterion {criterion} gives every weight of {arch} the score 0: nothing to rank")
    if (networks := CRITERIA[criterion].nonnegative_for) and (below := sum(negative(layer) for layer in left)):
        raise InputError(
            f"--criterion {criterion} gives {below:,} of {count(mask):,} weights of {arch} scores below 0, "
            f"which mean nothing: it is for networks {networks}"
        )


def negative(scores: Tensor) -> int:
    """How many scores of a layer are below 0 by more than rounding."""
    return int((scores < -ROUNDING * scores.abs().amax()).sum()) if len(scores) else 0


# --- masks ------------------------------------------------------------------------------------------------------------


def keep_highest(mask: Mask, scores: Scores, number: int, ranking: Ranking) -> Mask:
    """The mask that keeps the `number` highest-scoring of the weights that `mask` keeps, ranked as `ranking` says; of
    its rows where the scores are those of rows, (out,)."""
    if any(scores[name].shape != layer.shape for name, layer in mask.items()):
        return of_rows(keep_highest(rows(mask), scores, number, ranking), mask)
    if ranking.layer_share is None:
        return drop(mask, scores, count(mask) - number)
    return keep_highest_by_layer(mask, scores, number, ranking.layer_share)


def check_layers(config: PruningAtInitConfig, mask: Mask, iteration: int) -> None:
    """InputError for a layer without a weight, which no signal passes but by a shortcut."""
    empty = empty_layers(mask)
    if not empty or config.allow_empty_layers:
        return
    where = f" in iteration {iteration + 1} of {config.iterations}" if config.iterations > 1 else ""
    raise InputError(
        f"--criterion {config.criterion} leaves no weight of {listed(empty, shown=1)}, at {count(mask):,} weights"
        f"{where}: keep more, rank by layer (--ranking), or permit it by --allow_empty_layers"
    )


# --- how many weights -------------------------------------------------------------------------------------------------


def kept_count(config: PruningAtInitConfig, context: ModelAndData) -> int:
    """How many of the prunable weights, or blocks of them, the flags ask for; InputError if that is no ticket."""
    whole = dense(context.model, config.prune_classifier)
    weights, what = size(units(whole, config.basis)), f"prunable {config.basis.units}"
    if config.like:
        kept, asked = count_like(config, context, whole), f"--like {config.like}"
    elif config.pattern:
        kept, asked = kept_by_pattern(whole, Pattern.parse(config.pattern)), f"--pattern {config.pattern}"
        if kept == weights:
            raise InputError(misfit(Pattern.parse(config.pattern)))
    elif config.density is not None:
        kept, asked = round(config.density * weights), f"--density {config.density}"
    else:
        kept, asked = weights - round(config.sparsity * weights), f"--sparsity {config.sparsity}"
    if not 0 < kept < weights:
        raise InputError(f"{asked} keeps {kept:,} of {weights:,} {what}: that is no ticket")
    if kept < len(whole) and not config.allow_empty_layers:
        raise InputError(
            f"{asked} keeps {kept:,} of {weights:,} {what}, fewer than there are layers, {len(whole)}: some "
            "would have none left, which --allow_empty_layers permits"
        )
    return kept


def count_like(config: PruningAtInitConfig, context: ModelAndData, whole: Mask) -> int:
    """How many weights, or blocks of them, the ticket in `config.like` keeps of this network; a layer that it has no
    mask for counts as dense."""
    path: Path = config.like
    file = TicketFile(path)
    file.check_final()
    mask = file.mask(context.model)
    if strangers := [name for name in mask if name not in whole]:
        with_classifier = strangers[0] in prunable(context.model, prune_classifier=True)
        why = "is --prune_classifier missing?" if with_classifier else "only weights of Conv2d and Linear layers are"
        raise InputError(f"--like {path} has a mask for {strangers[0]}, which is not pruned here: {why}")
    mask = on_cpu(whole) | mask
    if config.basis.in_blocks and not in_whole_rows(mask):
        raise InputError(f"--like {path} keeps parts of rows, --block {config.basis.block} whole ones: give --density")
    return count(units(mask, config.basis))
