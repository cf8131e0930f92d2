"""What a network makes of images: classes, accuracies and losses, in eval mode, un-augmented.

Shapes: n examples that are looked at, b in a batch, C classes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataset import Images, el2n, to_input
from lottery.training.batchnorm_folding import Folded
from lottery.training.fast_step import relative
from lottery.training.precision import autocast, matmul_precision
from models.custom import UserNetwork

# How far logits of the folded network may lie from the network's own, relative to them; a wrong one is off by about 1.
TOLERANCE = {"fp32": 1e-3, "tf32": 3e-2, "bf16": 3e-1}


class Evaluator:
    """Predicts with `model` as it is at the moment of the call, with batch norm folded where that can be done.

    The first batch is looked at both ways; if the logits differ by more than rounding, or the network cannot be
    folded, the network itself predicts from then on, and `log` is told once. A network of ours changes nothing but the
    values of its tensors, and stays folded; one of the user's may do anything between two calls, and is folded anew,
    and looked at both ways, in each.
    """

    def __init__(self, model: nn.Module, precision: str = "fp32", log: Callable[[str], object] = print):
        self.model, self.precision, self.log = model, precision, log
        self.network: Callable[[Tensor], Tensor] | None = None  # known from the first batch on
        self.may_change = isinstance(model, UserNetwork)

    @property
    def folded(self) -> bool | None:
        """Whether batch norm is folded; None before the first batch."""
        return None if self.network is None else isinstance(self.network, Folded)

    def __call__(self, data: Images, indices: Tensor | None = None) -> Tensor:
        """The class of each of `indices` (all if None): int64 (n,)."""
        return self.each(data, indices, lambda logits, labels: logits.argmax(1))

    def errors(self, data: Images, indices: Tensor | None = None) -> Tensor:
        """`el2n` of each of `indices` (all if None): float32 (n,)."""
        return self.each(data, indices, el2n)

    def each(self, data: Images, indices: Tensor | None, what: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """(n,): `what` makes of logits, (b, classes), and labels, (b,), of each batch of `indices` (all if None)."""
        device = data.images.device
        if indices is None:
            indices = torch.arange(len(data), device=device)
        self.model.eval()
        with torch.no_grad(), matmul_precision(device, self.precision), autocast(device, self.precision):
            if self.network is None or (self.may_change and isinstance(self.network, Folded)):
                self.network = self.choose(to_input(data.images[:128]))
            elif isinstance(self.network, Folded):
                self.network.refresh_()
            parts = [self.batch(data, batch, what) for batch in indices.split(batch_size(data))]
        return torch.cat(parts)

    def batch(self, data: Images, indices: Tensor, what: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            return what(self.network(to_input(data.images[indices])), data.labels[indices])

    def accuracy(self, data: Images, indices: Tensor | None = None) -> float:
        """Percent of `indices` (all if None) that the model gets right."""
        labels = data.labels if indices is None else data.labels[indices]
        return 100 * (self(data, indices) == labels).double().mean().item()

    def measure(self, data: Images, indices: Tensor | None = None) -> tuple[float, float]:
        """Mean cross-entropy, and percent of `indices` (all if None) that the model gets wrong."""

        def loss_and_error(logits: Tensor, labels: Tensor) -> Tensor:
            losses = F.cross_entropy(logits.float(), labels, reduction="none")
            return torch.stack([losses, (logits.argmax(1) != labels).float()], 1)

        loss, error = self.each(data, indices, loss_and_error).double().mean(0).tolist()
        return loss, 100 * error

    def choose(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        """The folded network, if there is something to fold and it computes what the model does."""
        try:
            folded = Folded(self.model, torch.bfloat16 if self.precision == "bf16" else torch.float32)
            if not folded.pairs:
                return self.model
            folded.refresh_()
            expected, got = self.model(images).float(), folded(images).float()
            apart = relative((got - expected).double().norm().item(), expected.double().norm().item())
            if apart <= TOLERANCE[self.precision]:
                return folded
            reason = f"its logits would differ by {apart:.2g} of their size"
        except Exception as error:  # users' networks raise many kinds when they are traced
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        self.log(f"note: batch norm is not folded for evaluation ({reason}); results are the same, a little later")
        return self.model


def batch_size(data: Images) -> int:
    """Images to predict at once: on a GPU enough of small ones to keep it busy and few of large ones; on a CPU more
    than 128 only page-fault."""
    if data.images.device.type == "cpu":
        return 128
    return min(2048, max(64, 2048 * 32 * 32 * 3 // data.images[0].numel()))
