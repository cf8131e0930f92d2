"""One optimiser step and its buffers.

Shapes: N examples in the training set, b in a batch.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataset import to_input
from lottery.bases.basis import Basis
from lottery.training.batch_selection import build_selection
from lottery.training.dropped_weights import DroppedWeights
from lottery.training.fast_step import FastStep
from lottery.training.labelled_images import LabelledImages
from lottery.training.optimizers import build_optimizer, optimizer_state, reset_, weight_state
from lottery.training.precision import autocast, matmul_precision
from lottery.training.recipe import Recipe
from lottery.training.shards import build_shards
from models.network_state import tensors
from pruner import Mask, Ticket, Weights


class Step:
    """One optimiser step: gather, augment, forward, backward, SGD or Adam, mask. It never waits for the device.

    The step lives as long as the process and keeps parameters, the optimiser's state, learning rate and mask in fixed
    buffers: a new round, mask or learning rate is written into them, so that a captured step stays valid. Dropped
    weights are zeroed after every step, which gives the kept ones the same trajectory, to the bit, as masked gradients
    would.

    `compile` "auto": on CUDA the step is captured as a graph; on a CPU a run may decide to compile the network
    (compile_rule.py). "on": the network is compiled by torch.compile as well, on any device. "off": operations run one
    by one. `log` gets one note if a faster variant cannot be used.

    A batch is cut into so many `shards` (shards.py). `position`, the epoch's seed and the number of the step in it, is
    what each of several shards draws its random numbers by.
    """

    def __init__(
        self,
        model: nn.Module,
        data: LabelledImages,
        recipe: Recipe,
        precision: str = "fp32",
        compile: str = "off",
        log: Callable[[str], object] = print,
        shards: int = 1,
    ):
        self.model, self.data, self.precision = model, data, precision
        self.device = data.device
        self.parameters = dict(model.named_parameters())
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.kept: dict[str, Tensor] = {}  # the mask as 0.0 and 1.0, in the memory layout of the parameters
        self.dropped: DroppedWeights | None = None  # only where dropped weights are trained on, too
        self.basis: Basis | None = None  # that of the mask, its matrices fixed buffers on the device
        self.ticket_basis: Basis | None = None  # the same, as it came
        self.lr = torch.tensor(recipe.lr, device=self.device)
        self.label_smoothing = recipe.label_smoothing
        self.selection = build_selection(recipe, len(data), self.device)
        self.optimizer = build_optimizer(self.trained, self.lr, recipe)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.right = torch.zeros(len(data), dtype=torch.bool, device=self.device)  # (N,) at the last visit
        self.shards, self.position = build_shards(model, self.trained, shards, self.device), (0, 0)
        self.fast_step = FastStep(self, recipe.batch_size, compile, log)

    def begin_epoch_(self) -> None:
        """Switch to train mode and reset the loss sum."""
        self.model.train()
        self.loss_sum.zero_()
        self.fast_step.begin_epoch()
        if self.shards:
            self.shards.begin_epoch_(self.right, self.selection)

    def end_epoch_(self) -> None:
        """What ranks have each seen of an epoch is joined; RunError unless they hold the same weights."""
        if self.shards:
            state = [*self.learned, *self.model.buffers(), *self.kept.values(), *self.momentum()]
            self.shards.end_epoch_(self.right, self.selection, state)

    def __call__(self, visits: Tensor) -> None:
        """Train on a batch of `dataset.visits`, int64 (4, b), by the fastest variant of `update`."""
        self.fast_step(visits)

    def update(self, visits: Tensor, network: Callable[[Tensor], Tensor]) -> None:
        """The plain step; `network` computes what the model does."""
        self.differentiate(visits, network)
        self.optimize_()

    def differentiate(self, visits: Tensor, network: Callable[[Tensor], Tensor]) -> None:
        """The part of a step that changes no weight: batch norm's statistics, what is recorded of the batch, and the
        gradients, in `grad` of the parameters. They are dense: those of dropped weights are there, too."""
        self.optimizer.zero_grad()
        if self.shards:
            loss = self.shards.backward(visits, partial(self.backward, network), self.position)
        else:
            loss = self.backward(network, visits)
        self.loss_sum += loss * visits.shape[1]

    def backward(self, network: Callable[[Tensor], Tensor], visits: Tensor, share: float = 1.0) -> Tensor:
        """Leave the gradients of the mean loss of these examples, which are this share of a batch, times the share;
        the loss, times the share. Who is right is kept."""
        index, images = visits[0], self.data.training_images(visits)
        labels = self.data.labels[index]
        with matmul_precision(self.device, self.precision):
            with autocast(self.device, self.precision):
                logits = network(to_input(images))
            logits = logits.float()
            loss = self.loss(logits, labels, index)
            if share != 1:
                loss = loss * share
            loss.backward()
        self.right[index] = logits.detach().argmax(1) == labels
        return loss.detach()

    def optimize_(self) -> None:
        """The rest of a step: the weights go along the gradients, under the mask."""
        if self.dropped:
            self.dropped.put_back_()
        self.optimizer.step()
        self.apply_mask_()

    def loss(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """The mean loss of the examples `index`, (b,), weighted if batches are selected."""
        smoothing = self.label_smoothing
        if self.selection is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        return self.selection.weigh(F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none"), index)

    @torch.no_grad()
    def apply_mask_(self) -> None:
        if self.dropped:
            self.dropped.take_out_()
        elif self.basis:
            with matmul_precision(self.device, "fp32"):
                self.basis.project_(self.parameters, self.kept)
        elif self.kept:
            torch._foreach_mul_([self.parameters[name] for name in self.kept], list(self.kept.values()))

    @torch.no_grad()
    def load_(self, ticket: Ticket, masked: bool = False) -> None:
        """Load the ticket's weights and mask, zero the state of the optimiser and forget the losses of examples.
        Dropped weights are trained no more.

        Weights that are `masked` already, as those of a checkpoint, are taken as they are: in a basis the mask applied
        once more would round them.
        """
        if self.dropped:
            self.dropped = None
            self.fast_step.forget()
        load_weights_(self.model, ticket.weights)
        if ticket.mask.keys() != self.kept.keys():
            self.kept = {name: torch.empty_like(self.parameters[name]) for name in ticket.mask}
            self.fast_step.forget()
        for name, layer in ticket.mask.items():
            self.kept[name].copy_(layer)
        self.load_basis_(ticket.basis)
        if not (masked and self.basis):
            self.apply_mask_()
        reset_(self.optimizer)
        if self.selection:
            self.selection.reset_()

    def load_basis_(self, basis: Basis | None) -> None:
        """The basis that the mask is one of; a captured step holds the matrices of the one before."""
        if basis is not self.ticket_basis:
            self.ticket_basis, self.basis = basis, basis and basis.like(self.parameters)
            self.fast_step.forget()

    @torch.no_grad()
    def change_mask_(self, mask: Mask) -> None:
        """Train on under another mask, of the same layers: dropped weights become 0, and those that are kept anew begin
        at 0, without momentum. Where dropped weights are trained on, they come back with their values and momentum.

        It is written into the fixed buffers, and the host waits for nothing.
        """
        if self.dropped:
            self.dropped.change_mask_(mask)
            return
        for name, layer in mask.items():
            parameter, kept = self.parameters[name], self.kept[name]
            stayed = kept * layer
            for buffer in weight_state(self.optimizer, parameter):
                buffer.mul_(stayed)
            parameter.mul_(stayed)
            kept.copy_(layer)

    def train_dropped_(self) -> None:
        """From now on train the weights that the mask drops as well, beginning at 0."""
        self.dropped = DroppedWeights(self.parameters, self.kept)
        self.fast_step.forget()

    @property
    def learned(self) -> list[Tensor]:
        """The parameters, and the values of dropped weights where those are trained, too."""
        return [*self.parameters.values(), *(self.dropped.values.values() if self.dropped else ())]

    @property
    def mask(self) -> Mask:
        """A copy of the mask."""
        return {name: layer.bool() for name, layer in self.kept.items()}

    @torch.no_grad()
    def load_momentum_(self, saved: list[Tensor]) -> None:
        """Load what `momentum` returned earlier; it is copied into the buffers, whose strides matter."""
        for buffer, value in zip(self.momentum(), saved, strict=True):
            buffer.copy_(value)

    def momentum(self) -> list[Tensor]:
        """The buffers of the optimiser themselves, in the order of the trained parameters: SGD's momentum; or Adam's
        first moments, then its second ones, then its counts of steps."""
        return [buffer for kind in optimizer_state(self.optimizer) for buffer in kind]


@torch.no_grad()
def load_weights_(model: nn.Module, weights: Weights) -> None:
    """Copy weights and batch-norm statistics into the model's tensors; KeyError unless the keys are equal."""
    own = tensors(model)
    if missing := own.keys() ^ weights.keys():
        raise KeyError(f"weights do not fit the network: {sorted(missing)[:3]}")
    for name, value in own.items():
        value.copy_(weights[name])


def copy_weights(model: nn.Module) -> Weights:
    """A copy of the model's parameters and persistent buffers."""
    return {name: value.clone() for name, value in tensors(model).items()}
