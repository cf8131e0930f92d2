"""The second yardstick: the loop as the PrAC paper's authors published it in 2021, in what it spends its time on.

It is the plain loop with their data path and books: in the process that trains, each image is made a PIL image and
transformed, one after another; the labels of a batch come from a Python list of all labels, of which an array is made
in every step; and who was right is entered into the table example by example, each read from the device by itself.
Evaluation is the plain loop's. Written from a description of what that code does; none of it is copied.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.cases import BATCH, EXAMPLES, Problem
from benchmarks.plain import AUGMENT, Plain


class Authors(Plain):
    """The authors' way of working on one problem."""

    def __init__(self, model, ticket, problem: Problem, recipe, device, workers: int):
        super().__init__(model, ticket, problem, recipe, device, workers)
        self.images, labels = problem.train.images.numpy(), problem.train.labels.tolist()
        repeated = -(-EXAMPLES // len(labels))  # an array is made of as many labels as CIFAR-10 has
        self.targets = (labels * repeated)[: max(EXAMPLES, len(labels))]

    def batches(self, loader: DataLoader) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The examples that `loader` would give, the first ones of all, in an order of their own."""
        order = torch.randperm(len(loader.dataset))  # type: ignore[arg-type]  # a Subset, which has a length
        for indices in order.split(BATCH):
            images = torch.stack([AUGMENT(Image.fromarray(self.images[index])) for index in indices.tolist()])
            yield images, torch.from_numpy(np.array(self.targets)[indices.numpy()]), indices

    def note_right_(self, indices: Tensor, correct: Tensor) -> None:
        for place, index in enumerate(indices.tolist()):
            self.history[index, -1] = correct[place].item()
