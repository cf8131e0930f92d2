"""The examples that weights are scored on: which ones, and in batches, one of which is in memory at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from dataset import to_input
from lottery.checkpointing.run_settings import recorded
from lottery.pruning_at_init.config import PruningAtInitConfig
from lottery.pruning_at_init.criteria import CRITERIA
from lottery.tickets.prac_set_files import check_sets, read_sets, set_notes
from lottery.training.context import ModelAndData
from lottery.training.labelled_images import LabelledImages
from lottery.training.recipe import batches
from utils import InputError, RandomStream, generator


@dataclass(frozen=True)
class ScoredExamples:
    """The examples, (n,) indices in the order of their batches, None for a criterion that looks at none; and notes."""

    indices: Tensor | None = None
    notes: list[str] = field(default_factory=list)


def select_examples(config: PruningAtInitConfig, context: ModelAndData) -> ScoredExamples:
    """The examples to score on: the PrAC set, --score_examples of those that train, or all of them.

    Their order is drawn with the seed: on disk, examples may be sorted by class, and a batch of one class has batch
    norm statistics that no training ever sees. InputError for a set of other data, and for more examples than train.
    """
    if not CRITERIA[config.criterion].looks_at_examples:
        return ScoredExamples()
    train, notes = context.split.train, []
    if config.prac_set:
        given, here = read_sets(config.prac_set, rounds=1), recorded(config.data) | context.contents
        (train,), notes = check_sets(given, train, here), set_notes(given, here)
    if config.score_examples and config.score_examples > len(train):
        raise InputError(f"--score_examples {config.score_examples}: only {len(train)} examples train")
    random = generator(config.run.seed, purpose=RandomStream.SCORED_EXAMPLES)
    order = random.permutation(len(train))[: config.score_examples]
    return ScoredExamples(train[torch.from_numpy(order).to(train.device)], notes)


@dataclass(frozen=True)
class Batches:
    """Pairs of images (b, C, H, W) in [0, 1] and labels (b,), converted one batch at a time; slow passes show a bar."""

    data: LabelledImages
    indices: Tensor  # int64 (n,)
    size: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        parts = [self.indices[places] for places in batches(len(self.indices), self.size)]
        found = self.data.batches(parts)
        for images, labels in tqdm(found, total=len(parts), unit="batch", disable=None, leave=False, delay=2):
            yield to_input(images), labels
