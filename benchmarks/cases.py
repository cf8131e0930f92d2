"""Benchmark cases: four networks on random images of CIFAR-10's size."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dataset import Images
from lottery.training.loop import Recipe, copy_weights
from models import build_model
from pruner import Ticket, dense, magnitude, prune

CLASSES, CHANNELS, SIZE = 10, 3, 32
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
EXAMPLES, TRAINING, VALIDATION, TEST = 50_000, 45_000, 5_000, 10_000  # of CIFAR-10, as the suite divides it
EPOCHS = 182  # of the paper's schedule
RATE = 0.2  # of the weights, pruned a round
BATCH = 128


class Case(NamedTuple):
    """A network, and the share of --examples it gets on a CPU, so that repeats of all networks take alike long."""

    arch: str
    stem: str = "imagenet"
    share: float = 1.0


NETWORKS = {
    "res20s": Case("res20s"),
    "res18": Case("res18"),
    "res18-cifar": Case("res18", "cifar", 1 / 8),
    "vgg16_bn": Case("vgg16_bn", share=1 / 8),
}


def build(case: Case) -> nn.Module:
    """The network, on the CPU, with the same weights at every call."""
    torch.manual_seed(0)
    return build_model(
        case.arch, classes=CLASSES, channels=CHANNELS, image_size=SIZE, mean=MEAN, std=STD, stem=case.stem
    )


def pruned_ticket(model: nn.Module) -> Ticket:
    """The network after one pruning by magnitude, so that masks have work to do."""
    mask = dense(model)
    return Ticket(prune(mask, magnitude(dict(model.named_parameters()), mask), RATE), copy_weights(model))


def recipe() -> Recipe:
    """One epoch; the learning rate is low, since random labels cannot be learned."""
    return Recipe(epochs=1, milestones=(), lr=0.01, batch_size=BATCH)


@dataclass(frozen=True, eq=False)
class Problem:
    """Random images and labels on the CPU, in CIFAR-10's proportions of 45 000, 5 000 and 10 000.

    `train` holds the examples that train, then those that validate; `test` has as many images as train, for evaluation
    to be timed on, of which the first `tested` are the test set of a whole epoch.
    """

    train: Images
    test: Images
    trained: int
    validated: int
    tested: int

    @property
    def training(self) -> Tensor:
        return torch.arange(self.trained)

    @property
    def validation(self) -> Tensor:
        return torch.arange(self.trained, self.trained + self.validated)


def problem(examples: int) -> Problem:
    """A problem with `examples` that train."""
    validated = max(2, examples * VALIDATION // TRAINING)
    train, test = random_images(examples + validated, padding=4, flips=True), random_images(examples)
    return Problem(train, test, examples, validated, max(2, examples * TEST // TRAINING))


def random_images(n: int, padding: int = 0, flips: bool = False) -> Images:
    random = torch.Generator().manual_seed(n)
    images = torch.randint(0, 256, (n, SIZE, SIZE, CHANNELS), dtype=torch.uint8, generator=random)
    return Images(images, torch.randint(0, CLASSES, (n,), generator=random), padding, flips)


def on(device: torch.device, images: Images) -> Images:
    return Images(images.images.to(device), images.labels.to(device), images.padding, images.flips)


def examples_for(case: Case, examples: int, device: torch.device) -> int:
    """How many examples this network trains on: on a CPU its share, in whole batches, at least one of them."""
    if device.type == "cuda" or examples <= BATCH:
        return examples
    return max(BATCH, int(examples * case.share) // BATCH * BATCH)
