"""The yardstick: the loop one usually writes in PyTorch, with nothing done for speed.

Images pass through torchvision's transforms one by one, as PIL images, in the DataLoader's workers; the network lies in
contiguous memory; torch.nn.utils.prune holds the masks; loss and accuracy are read from the device at every step. The
masks of the early-bird test come from a copy of the network that is pruned, read and made plain again. A checkpoint is
one torch.save of weights, optimiser and a float64 table of who was right when.

Three things are in its favour: its workers are started once, not in every epoch; its new best network, which one would
also save, costs it nothing; and its networks are the suite's, in which ReLU works in place.
"""

import copy
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

from benchmarks.cases import BATCH, EPOCHS, EXAMPLES, RATE, Problem
from benchmarks.memory import let_glibc_return_memory
from dataset import Images
from lottery.training.loop import Recipe
from pruner import Mask, Ticket

AUGMENT = transforms.Compose(
    [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
)
KEEP = transforms.ToTensor()
COLUMNS = EPOCHS // 2  # epochs in the table of a checkpoint: the middle of the schedule, for the average checkpoint


class PilImages(Dataset):
    """Images as torchvision's data sets give them: made a PIL image, then transformed; with label and index."""

    def __init__(self, images: Images, transform: transforms.Compose | transforms.ToTensor):
        self.images, self.labels = images.images.numpy(), images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index], index


class Plain:
    """The plain loop on one problem."""

    def __init__(self, model: nn.Module, ticket: Ticket, problem: Problem, recipe: Recipe, device, workers: int):
        self.model, self.device, self.workers = model.to(device), device, workers
        mask_(self.model, ticket.mask)
        self.mask = self.next_mask()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
        )
        # Who was right at which epoch; not all alike, since a checkpoint's size depends on what is in it.
        self.history = (np.random.default_rng(0).random((EXAMPLES, COLUMNS)) < 0.9).astype(np.float64)
        whole, test = PilImages(problem.train, AUGMENT), PilImages(problem.test, KEEP)
        unchanged = PilImages(problem.train, KEEP)
        self.training = self.loader(Subset(whole, range(problem.trained)), shuffle=True)
        self.warming = self.loader(Subset(whole, range(min(BATCH, problem.trained))), shuffle=True)
        self.evaluation = self.loader(test)
        self.validation = self.loader(Subset(unchanged, problem.validation.tolist()))
        self.test = self.loader(Subset(test, range(problem.tested)))

    def loader(self, dataset: Dataset, shuffle: bool = False) -> DataLoader:
        return DataLoader(
            dataset,
            BATCH,
            shuffle=shuffle,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            persistent_workers=self.workers > 0,
        )

    def enter(self) -> None:
        """Memory as in a program that sets nothing."""
        let_glibc_return_memory()

    def warm_up(self) -> None:
        self.train_on(self.warming)

    def train(self) -> float:
        """One epoch; accuracy in percent."""
        return self.train_on(self.training)

    def train_on(self, loader: DataLoader) -> float:
        self.model.train()
        seen, losses, right = 0, 0.0, 0.0
        for images, labels, indices in self.batches(loader):
            images = images.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            logits = self.model(images)
            loss = F.cross_entropy(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            correct = logits.argmax(1) == labels
            self.note_right_(indices, correct)
            losses += loss.item() * len(labels)
            right += correct.float().mean().item() * len(labels)
            seen += len(labels)
        return 100 * right / seen

    def batches(self, loader: DataLoader) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """An epoch's images, labels and indices, batch by batch."""
        return loader

    def note_right_(self, indices: Tensor, correct: Tensor) -> None:
        """Enter into the table which of these examples were right."""
        self.history[indices.numpy(), -1] = correct.cpu().numpy()

    @torch.no_grad()
    def evaluate(self, loader: DataLoader | None = None) -> float:
        """Accuracy in percent, on as many images as training has if no loader is given."""
        self.model.eval()
        seen, right = 0, 0
        for images, labels, _ in loader or self.evaluation:
            logits = self.model(images.to(self.device, non_blocking=True))
            right += (logits.argmax(1) == labels.to(self.device, non_blocking=True)).sum().item()
            seen += len(labels)
        return 100 * right / seen

    def validate(self) -> float:
        return self.evaluate(self.validation)

    def look_at_test(self) -> float:
        return self.evaluate(self.test)

    def next_mask(self) -> Mask:
        return next_mask(self.model)

    def mask_distance(self) -> float:
        """Of two masks that differ in nothing, which takes as long as any two."""
        return distance(self.mask, self.mask)

    def early_bird(self) -> float:
        """The test after an epoch: the next mask, and its distance to the one before."""
        before, self.mask = self.mask, self.next_mask()
        return distance(before, self.mask)

    def checkpoint(self, folder: Path) -> None:
        """Weights, optimiser and table, in one file."""
        state = {
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }
        torch.save(state, folder / "plain.pth.tar")


# --- masks as torch.nn.utils.prune has them ---------------------------------------------------------------------------


def convolutions(model: nn.Module) -> list[tuple[nn.Module, str]]:
    return [(module, "weight") for module in model.modules() if isinstance(module, nn.Conv2d)]


def mask_(model: nn.Module, mask: Mask) -> None:
    """Put the network under `mask`: a weight becomes weight_orig times weight_mask at every forward pass."""
    for name, layer in mask.items():
        module = model.get_submodule(name.removesuffix(".weight"))
        prune.custom_from_mask(module, "weight", layer.to(module.weight.device))


def next_mask(model: nn.Module) -> Mask:
    """The mask that pruning now would give: prune a copy, read its masks, make it plain again."""
    for module, name in convolutions(model):
        setattr(module, name, getattr(module, name).detach())  # what autograd made cannot be copied
    twin = copy.deepcopy(model)
    prune.global_unstructured(convolutions(twin), prune.L1Unstructured, amount=RATE)
    mask = {name.removesuffix("_mask"): layer for name, layer in twin.named_buffers() if name.endswith("weight_mask")}
    for module, name in convolutions(twin):
        prune.remove(module, name)
    return mask


def distance(a: Mask, b: Mask) -> float:
    """The share of entries in which two masks differ, layer by layer, each read from the device."""
    differing = sum((a[name] != b[name]).sum().item() for name in a)
    return differing / sum(layer.numel() for layer in a.values())
