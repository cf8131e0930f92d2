"""What a script trains with, made from its flags: device, data, split, network, step."""

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dataset import Images, Split, default_permutation, read_permutation, split
from environment import environment
from feedback import Feedback
from models import build_model
from pruner import dense
from sources import Source, read_source
from training import Recipe, Step, load_weights_, predict
from utils import INITIAL_WEIGHTS, InputError, digest, torch_seed


@dataclass
class Workbench:
    """Data and network on their device. `step` owns the network's weights; a training writes into it."""

    device: torch.device
    train: Images
    test: Images
    split: Split
    model: nn.Module
    step: Step
    recipe: Recipe
    seed: int
    feedback: Feedback
    contents: dict[str, str]  # checksums of data and split

    @property
    def whole(self) -> Tensor:
        """D0: all examples that train, (n0,)."""
        return self.split.train

    def tell_set_up(self) -> None:
        """Where chance and arithmetic come from in this run."""
        described = ", ".join(f"{name} {value}" for name, value in environment(self.device).items())
        self.feedback.say(f"seed {self.seed}, {described}")
        self.feedback.say(
            f"{len(self.whole)} examples train, {len(self.split.validation)} validate, {len(self.test)} test"
        )

    def predictions(self, weights: dict[str, Tensor]) -> Tensor:
        """Classes that a network with these weights gives all of D0, (n0,); the weights in the step are lost."""
        load_weights_(self.model, weights)
        return predict(self.model, self.train, self.whole)


def set_up(args: argparse.Namespace) -> Workbench:
    """Read the data, build the network. InputError where flags, files and network do not go together."""
    device = pick_device(args.gpu)
    if args.split_file:
        read_permutation(args.split_file)  # before the data, which may take long to decode
    source = read_source(args.dataset, args.data, args.image_size)
    permutation = permutation_of(args, source)
    model = initial_model(args, source).to(device, memory_format=torch.channels_last)
    check_prunable(model, args.arch)
    train, test = images_on(device, source)
    recipe = recipe_of(args)
    return Workbench(
        device=device,
        train=train,
        test=test,
        split=Split(*(indices.to(device) for indices in split(permutation))),
        model=model,
        step=Step(model, train, recipe),
        recipe=recipe,
        seed=args.seed,
        feedback=Feedback(args.print_freq),
        contents={
            "data checksum": digest(source.train_images, source.train_labels, source.test_images, source.test_labels),
            "split checksum": digest(permutation.astype(np.int64)),
        },
    )


def pick_device(gpu: int) -> torch.device:
    """CUDA device number `gpu` where there is CUDA, else the CPU; -1 forces the CPU."""
    if gpu < -1:
        raise InputError(f"--gpu must be the number of a CUDA device, or -1 for the CPU, got {gpu}")
    if gpu == -1 or not torch.cuda.is_available():
        return torch.device("cpu")
    if gpu >= torch.cuda.device_count():
        raise InputError(f"--gpu {gpu}: this machine has CUDA devices 0 to {torch.cuda.device_count() - 1}")
    return torch.device("cuda", gpu)


def permutation_of(args: argparse.Namespace, source: Source) -> np.ndarray:
    if args.split_file:
        return read_permutation(args.split_file, len(source.train_labels))
    return default_permutation(args.dataset, source.train_labels)


def initial_model(args: argparse.Namespace, source: Source) -> nn.Module:
    """The network with initial weights drawn from --seed alone, on the CPU, so that every device starts alike."""
    torch.manual_seed(torch_seed(args.seed, purpose=INITIAL_WEIGHTS))
    return build_model(
        args.arch,
        classes=len(source.classes),
        channels=source.channels,
        image_size=source.image_size,
        mean=source.mean,
        std=source.std,
        stem=args.stem,
    )


def check_prunable(model: nn.Module, arch: str) -> None:
    """InputError for a network, the user's own, whose weights are not plain parameters, or has none to prune."""
    try:
        dense(model)
    except (ValueError, AttributeError) as error:
        raise InputError(f"--arch {arch}: {error}") from None


def images_on(device: torch.device, source: Source) -> tuple[Images, Images]:
    """Training and test images on the device; only training images are augmented."""
    train = Images(
        torch.from_numpy(source.train_images).to(device),
        torch.from_numpy(source.train_labels).to(device),
        source.padding,
        source.flips,
    )
    test = Images(torch.from_numpy(source.test_images).to(device), torch.from_numpy(source.test_labels).to(device))
    return train, test


def recipe_of(args: argparse.Namespace) -> Recipe:
    return Recipe(
        epochs=args.epochs,
        milestones=args.decreasing_lr,
        warmup=args.warmup,
        lr=args.lr,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        batch_size=args.batch_size,
    )
