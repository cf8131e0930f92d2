"""Predictions, accuracies and losses of a network, in eval mode on images that are not augmented.

Shapes: n examples that are looked at, b in a batch, C classes.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataset import el2n, to_input
from lottery.training.batchnorm_folding import FoldedNetwork
from lottery.training.fast_step import relative_error
from lottery.training.labelled_images import LabelledImages
from lottery.training.precision import autocast, matmul_precision
from lottery.training.recipe import batches
from lottery.training.shards import join_parts
from models.custom import UserNetwork
from utils import one_line

# Allowed relative error of the folded network's logits; a wrong network is off by about 1.
TOLERANCE = {"fp32": 1e-3, "tf32": 3e-2, "bf16": 3e-1}


class Evaluator:
    """Evaluates `model` with its weights at the time of the call, with batch norm folded where possible.

    The first batch is evaluated by the folded and the plain network; if the logits differ by more than rounding, or
    the network cannot be folded, the plain network is used from then on, and `log` gets one note. Of a built-in
    network only tensor values change, so it stays folded; a user's network may change in any way between two calls, so
    it is folded and checked in each call.
    """

    def __init__(self, model: nn.Module, precision: str = "fp32", log: Callable[[str], object] = print):
        self.model, self.precision, self.log = model, precision, log
        self.network: Callable[[Tensor], Tensor] | None = None  # chosen at the first batch
        self.may_change = isinstance(model, UserNetwork)

    @property
    def folded(self) -> bool | None:
        """Whether batch norm is folded; None before the first batch."""
        return None if self.network is None else isinstance(self.network, FoldedNetwork)

    def __call__(self, data: LabelledImages, indices: Tensor | None = None) -> Tensor:
        """The predicted class of each of `indices` (all if None): int64 (n,)."""
        return self.map_batches(data, indices, lambda logits, labels: logits.argmax(1))

    def el2n(self, data: LabelledImages, indices: Tensor | None = None) -> Tensor:
        """The EL2N score of each of `indices` (all if None): float32 (n,)."""
        return self.map_batches(data, indices, el2n)

    def map_batches(
        self, data: LabelledImages, indices: Tensor | None, function: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """`function`, (b, C) logits and (b,) labels -> (b, ...), over batches of `indices` (all if None): (n, ...)."""
        device = data.device
        if indices is None:
            indices = torch.arange(len(data), device=device)
        self.model.eval()
        with torch.no_grad(), matmul_precision(device, self.precision), autocast(device, self.precision):
            if self.network is None or (self.may_change and isinstance(self.network, FoldedNetwork)):
                self.network = self.choose_network(to_input(data.at(slice(128))))
            elif isinstance(self.network, FoldedNetwork):
                self.network.refresh_()

            def evaluate(parts: Sequence[Tensor]) -> list[Tensor]:
                return [self.evaluate_batch(images, labels, function) for images, labels in data.batches(parts)]

            parts = [indices[batch] for batch in batches(len(indices), batch_size(data))]
            return join_parts(parts or [indices], evaluate)  # of no examples, the result is as empty

    def evaluate_batch(self, images: Tensor, labels: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            return function(self.network(to_input(images)), labels)

    def accuracy(self, data: LabelledImages, indices: Tensor | None = None) -> float:
        """Accuracy in percent on `indices` (all if None)."""
        labels = data.labels if indices is None else data.labels[indices]
        return 100 * (self(data, indices) == labels).double().mean().item()

    def loss_and_error(self, data: LabelledImages, indices: Tensor | None = None) -> tuple[float, float]:
        """Mean cross-entropy and error in percent on `indices` (all if None)."""

        def losses_and_errors(logits: Tensor, labels: Tensor) -> Tensor:  # (b, 2)
            losses = F.cross_entropy(logits.float(), labels, reduction="none")
            return torch.stack([losses, (logits.argmax(1) != labels).float()], 1)

        loss, error = self.map_batches(data, indices, losses_and_errors).double().mean(0).tolist()
        return loss, 100 * error

    def choose_network(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        """The folded network if there is something to fold and it computes what the model does, else the model."""
        if not any(isinstance(module, nn.BatchNorm2d) for module in self.model.modules()):
            return self.model
        try:
            folded = FoldedNetwork(self.model, torch.bfloat16 if self.precision == "bf16" else torch.float32)
            if not folded.pairs:
                return self.model
            folded.refresh_()
            expected, got = self.model(images).float(), folded(images).float()
            apart = relative_error((got - expected).double().norm().item(), expected.double().norm().item())
            if apart <= TOLERANCE[self.precision]:
                return folded
            reason = f"its logits would differ by {apart:.2g} of their size"
        except Exception as error:  # users' networks raise many kinds when they are traced
            reason = one_line(error)
        self.log(f"note: batch norm is not folded for evaluation ({reason}); results are the same, a little later")
        return self.model


def batch_size(data: LabelledImages) -> int:
    """Images per batch: on a GPU enough small ones to keep it busy and fewer large ones; on a CPU more than 128 only
    cause page faults."""
    if data.device.type == "cpu":
        return 128
    return min(2048, max(64, 2048 * 32 * 32 * 3 // data.at(slice(1)).numel()))
