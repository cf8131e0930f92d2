"""Training as one would write it to be sure of it, and the suite's own, behind one face, to see whether they differ.

Both see the same batches: `dataset.draw_epoch` draws them, `augment` and `to_input` make them.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain import mask_
from benchmarks.rounding import round_products_
from dataset import Draws, Images, augment, draw_epoch, to_input
from lottery.training.evaluation import Evaluator
from lottery.training.loop import fit
from lottery.training.precision import matmul_precision
from lottery.training.recipe import Recipe, batches
from lottery.training.step import Step
from pruner import Ticket
from utils import RunError


class Straightforward:
    """Contiguous memory, torch.nn.utils.prune's masks, SGD in a Python loop over the parameters; nothing is fused.

    In float64, `dtype`, it is the yardstick of rounding; its images are those of float32, exactly.
    """

    def __init__(self, model: nn.Module, data: Images, ticket: Ticket, recipe: Recipe, dtype=torch.float32):
        self.model, self.data, self.recipe, self.dtype = model.to(data.images.device, dtype), data, recipe, dtype
        self.model.load_state_dict(ticket.weights)
        mask_(self.model, ticket.mask)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            recipe.lr,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            foreach=False,
            fused=False,
        )

    def train(self, indices: Tensor, seed: int) -> list[float]:
        """All epochs on `indices`, (n,); the loss of each step."""
        with matmul_precision(self.data.images.device, "fp32"):
            return [loss for number in range(self.recipe.epochs) for loss in self.epoch(indices, seed, number)]

    def epoch(self, indices: Tensor, seed: int, number: int) -> Iterator[float]:
        draws = draw_epoch(len(indices), self.data.padding, self.data.flips, (seed, 0, number))
        plan = batches(len(indices), self.recipe.batch_size)
        self.model.train()
        for done, batch in enumerate(plan):
            self.optimizer.param_groups[0]["lr"] = self.recipe.lr_at(number, done, len(plan))
            yield self.step(indices, Draws(*(draw[batch].to(indices.device) for draw in draws)))

    def step(self, indices: Tensor, draws: Draws) -> float:
        """One optimiser step on the examples at `draws.order`, (b,), of `indices`; its loss."""
        index = indices[draws.order]
        images = augment(self.data.images[index], draws.top, draws.left, draws.flip, self.data.padding)
        logits = self.model(to_input(images).contiguous().to(self.dtype))
        loss = F.cross_entropy(logits, self.data.labels[index])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def accuracy(self, test: Images) -> float:
        """Percent of the images it gets right, in batches of 128."""
        self.model.eval()
        with matmul_precision(test.images.device, "fp32"):
            parts = [self.model(to_input(part).contiguous().to(self.dtype)) for part in test.images.split(128)]
        return 100 * (torch.cat(parts).argmax(1) == test.labels).double().mean().item()


class Suite:
    """The suite's `Step`, driven by its `fit`, and its `Evaluator`; as its scripts have them, in one precision.

    With `compile` "on" RunError after a training that did not use the compiled network, which would be no comparison.
    """

    def __init__(
        self, model: nn.Module, data: Images, ticket: Ticket, recipe: Recipe, precision: str, compile: str = "auto"
    ):
        self.data, self.recipe, self.compile = data, recipe, compile
        self.model = model.to(data.images.device, memory_format=torch.channels_last)
        self.step = Step(self.model, data, recipe, precision=precision, compile=compile)
        self.step.load_(ticket)
        self.evaluator = Evaluator(self.model, precision=precision)

    def train(self, indices: Tensor, seed: int) -> list[float]:
        """All epochs on `indices`, (n,); the loss of each step."""
        losses: list[float] = []
        sums: list[float] = []  # over the examples of an epoch, after each of its steps
        sizes = [batch.stop - batch.start for batch in batches(len(indices), self.recipe.batch_size)]
        for _ in fit(self.step, indices, self.recipe, seed=seed, tick=lambda: sums.append(self.step.loss_sum.item())):
            losses += [(after - before) / n for (before, after), n in zip(pairwise([0.0, *sums]), sizes, strict=True)]
            sums.clear()
        if self.compile == "on" and "compiled" not in self.step.fast_step.used:
            raise RunError(f"the network was not trained compiled: {self.step.fast_step.fallback}")
        return losses

    def accuracy(self, test: Images) -> float:
        return self.evaluator.accuracy(test)


Training = Straightforward | Suite
Maker = Callable[[nn.Module, Images, Ticket, Recipe], Training]


def emulated_tf32(model: nn.Module, data: Images, ticket: Ticket, recipe: Recipe) -> Straightforward:
    return Straightforward(round_products_(model), data, ticket, recipe)


def suite(precision: str, compile: str = "auto") -> Maker:
    return lambda model, data, ticket, recipe: Suite(model, data, ticket, recipe, precision, compile)


def float64(model: nn.Module, data: Images, ticket: Ticket, recipe: Recipe) -> Straightforward:
    return Straightforward(model, data, ticket, recipe, torch.float64)


BASE = "straightforward-fp32"
VARIANTS: dict[str, Maker] = {
    BASE: Straightforward,
    "ours-fp32": suite("fp32"),
    "ours-bf16": suite("bf16"),
    "ours-fp32-compiled": suite("fp32", "on"),
    "ours-bf16-compiled": suite("bf16", "on"),
    "emulated-tf32": emulated_tf32,
    "ours-tf32": suite("tf32"),  # needs CUDA
}
