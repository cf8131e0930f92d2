"""One run: train a network under a mask.

`Recipe` says how, `Step` does one optimiser step, `fit` runs the epochs and yields after each, `predict` looks at the
result. To rewind, take one of the snapshots an epoch hands out; to stop early, break. Nothing in an epoch waits for the
device: an epoch ends with one transfer.

Shapes: N examples in the training set, n in the set trained on, b in a batch.
"""

import itertools
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataset import Draws, Images, augment, draw_epoch, to_input
from pruner import Mask, Ticket, Weights, apply_
from utils import torch_seed


@dataclass(frozen=True)
class Recipe:
    """How long and at which learning rates: SGD with momentum, weight decay on everything, steps of x0.1."""

    epochs: int = 182
    milestones: tuple[int, ...] = (91, 136)
    warmup: int = 0
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 128

    def scaled(self, part: int, whole: int) -> "Recipe":
        """Epochs, milestones and warm-up times part/whole, truncated (the PrAC paper, section 3).

        At least one epoch; milestones stay strictly increasing and at least 1, so that none acts before training
        begins and no two at once.
        """
        milestones = [milestone * part // whole for milestone in self.milestones]
        rising = itertools.accumulate(milestones, lambda last, milestone: max(milestone, last + 1), initial=0)
        return replace(
            self,
            epochs=max(1, self.epochs * part // whole),
            milestones=tuple(rising)[1:],
            warmup=self.warmup * part // whole,
        )

    def lr_at(self, epoch: int, step: int, steps: int) -> float:
        """The learning rate of (0-based) `step` of the `steps` in `epoch`: linear warm-up, then x0.1 per milestone."""
        warm = min(1.0, (epoch * steps + step + 1) / (self.warmup * steps)) if self.warmup else 1.0
        return warm * self.lr * 0.1 ** sum(epoch >= milestone for milestone in self.milestones)


def batches(n: int, batch_size: int) -> list[slice]:
    """Positions of each batch of an epoch over n examples; a last batch of one joins the one before it.

    Batch norm has no statistics of a single 1x1 map, so one example alone cannot be a batch.
    """
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return [slice(start, stop) for start, stop in itertools.pairwise([*starts, n])]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Optimiser steps of an epoch over n examples: the number of its `batches`."""
    full, rest = divmod(n, batch_size)
    return full + (rest > 1 or (rest == 1 and full == 0))


class Step:
    """One optimiser step: gather, augment, forward, backward, SGD, mask.

    It owns the parameters, momentum, learning rate and masks in fixed buffers and lives as long as the process: a new
    round, mask or learning rate only writes into them. Dropped weights are zeroed after every step, which gives the
    kept ones the same trajectory, to the bit, as masked gradients would.
    """

    def __init__(self, model: nn.Module, data: Images, recipe: Recipe):
        self.model, self.data = model, data
        device = data.images.device
        self.parameters = dict(model.named_parameters())
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.mask: Mask = {}
        self.lr = torch.tensor(recipe.lr, device=device)
        self.optimizer = torch.optim.SGD(
            self.trained, self.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
        for parameter in self.trained:
            # Fused SGD on a CPU ignores strides: momentum must lie in memory as its weight does.
            self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            parameter.grad = torch.zeros_like(parameter)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.right = torch.zeros(len(data), dtype=torch.bool, device=device)  # (N,) at each example's last visit

    def __call__(self, index: Tensor, draws: Draws) -> None:
        """Train on the examples `index`, (b,), cropped and flipped as the batch's draws say."""
        images = augment(self.data.images[index], draws.top, draws.left, draws.flip, self.data.padding)
        labels = self.data.labels[index]
        logits = self.model(to_input(images))
        loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        self.optimizer.step()
        apply_(self.parameters, self.mask)
        self.right[index] = logits.detach().argmax(1) == labels
        self.loss_sum += loss.detach() * len(index)

    @torch.no_grad()
    def load_(self, ticket: Ticket) -> None:
        """Start a run: the ticket's weights under its mask, momentum at rest."""
        load_weights_(self.model, ticket.weights)
        self.mask = {name: self.mask_buffer(name).copy_(layer) for name, layer in ticket.mask.items()}
        apply_(self.parameters, self.mask)
        for momentum in self.momentum():
            momentum.zero_()

    def mask_buffer(self, name: str) -> Tensor:
        """Where the mask of a parameter lies, as the parameter does: made once, written into from then on."""
        return self.mask[name] if name in self.mask else torch.empty_like(self.parameters[name], dtype=torch.bool)

    @torch.no_grad()
    def load_momentum_(self, saved: list[Tensor]) -> None:
        """Go on from momentum that `momentum` once gave; written into our own buffers, for their strides."""
        for buffer, value in zip(self.momentum(), saved, strict=True):
            buffer.copy_(value)

    def momentum(self) -> list[Tensor]:
        """The momentum buffers, in the order of the parameters that are trained."""
        return [self.optimizer.state[parameter]["momentum_buffer"] for parameter in self.trained]


@torch.no_grad()
def load_weights_(model: nn.Module, weights: Weights) -> None:
    """Write weights and batch-norm statistics into the model's own tensors; all keys must be there."""
    own = model.state_dict()
    if missing := own.keys() ^ weights.keys():
        raise KeyError(f"weights do not fit the network: {sorted(missing)[:3]}")
    for name, value in own.items():
        value.copy_(weights[name])


def copy_weights(model: nn.Module) -> Weights:
    """A copy of the model's state_dict that further training does not touch."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@dataclass(frozen=True)
class Epoch:
    """What an epoch leaves: its (0-based) number in the schedule and what it saw."""

    number: int
    steps: int
    lr: float  # of its last step
    loss: float  # mean over the examples
    right: Tensor  # bool (n,), aligned with the indices trained on
    snapshots: dict[int, Weights]  # steps since the schedule's start -> the weights after that many


def fit(
    step: Step,
    indices: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    round: int = 0,
    start: int = 0,
    snapshot_at: Container[int] = (),
    tick: Callable[[], object] = lambda: None,
) -> Iterator[Epoch]:
    """Train on `indices`, (n,), for epochs start ... recipe.epochs - 1 and yield after each.

    What chance decides, in a network with dropout too, is a function of (seed, round, epoch) alone. `snapshot_at` holds
    the steps, counted from the start of epoch 0, after which the weights are copied; `tick` is called after each step,
    to show life.
    """
    plan = batches(len(indices), recipe.batch_size)
    for number in range(start, recipe.epochs):
        draws = draw_epoch(len(indices), step.data.padding, step.data.flips, (seed, round, number))
        draws = draws.to(indices.device)
        torch.manual_seed(torch_seed(seed, round, number))
        step.model.train()
        step.loss_sum.zero_()
        snapshots = {}
        for done, batch in enumerate(plan):
            step.lr.fill_(recipe.lr_at(number, done, len(plan)))
            step(indices[draws.order[batch]], Draws(*(draw[batch] for draw in draws)))
            if (taken := number * len(plan) + done + 1) in snapshot_at:
                snapshots[taken] = copy_weights(step.model)
            tick()
        lr = recipe.lr_at(number, len(plan) - 1, len(plan))
        loss = float(step.loss_sum) / len(indices)
        yield Epoch(number, len(plan), lr, loss, step.right[indices], snapshots)


def predict(model: nn.Module, data: Images, indices: Tensor | None = None) -> Tensor:
    """The class the model, in eval mode, gives each of `indices` (all if None), un-augmented: int64 (n,)."""
    device = data.images.device
    batch_size = 128 if device.type == "cpu" else _gpu_batch(data.images[0].numel())
    if indices is None:
        indices = torch.arange(len(data), device=device)
    model.eval()
    with torch.inference_mode():
        parts = [model(to_input(data.images[batch])).argmax(1) for batch in indices.split(batch_size)]
    return torch.cat(parts).clone()


def _gpu_batch(values: int) -> int:
    """Images of so many values to predict at once on a GPU: enough of small ones to keep it busy, few of large ones.

    On a CPU more than 128 page-fault.
    """
    return min(2048, max(64, 2048 * 32 * 32 * 3 // values))


def finite(model: nn.Module) -> bool:
    """Whether every parameter is a number, with one transfer from the device for all of them."""
    return bool(torch.stack([parameter.detach().isfinite().all() for parameter in model.parameters()]).all())


def accuracy(model: nn.Module, data: Images, indices: Tensor | None = None) -> float:
    """Percent of `indices` (all if None) that the model gets right."""
    labels = data.labels if indices is None else data.labels[indices]
    return 100 * (predict(model, data, indices) == labels).double().mean().item()
