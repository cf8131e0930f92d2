"""What a script trains with, made from its flags: device, data, split, network, step."""

import argparse
import platform
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dataset import Images, Split, default_permutation, digest, read_permutation, split
from feedback import Feedback
from models import build_model
from sources import read_source
from training import Recipe, Step
from utils import INITIAL_WEIGHTS, InputError, generator


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


def pick_device(gpu: int) -> torch.device:
    """CUDA device number `gpu` where there is CUDA, else the CPU; -1 forces the CPU."""
    if gpu < -1:
        raise InputError(f"--gpu must be the number of a CUDA device, or -1 for the CPU, got {gpu}")
    if gpu == -1 or not torch.cuda.is_available():
        return torch.device("cpu")
    if gpu >= torch.cuda.device_count():
        raise InputError(f"--gpu {gpu}: this machine has CUDA devices 0 to {torch.cuda.device_count() - 1}")
    return torch.device("cuda", gpu)


def set_up(args: argparse.Namespace) -> Workbench:
    """Read the data, build the network. InputError where flags, files and network do not go together."""
    device = pick_device(args.gpu)
    if args.split_file:
        read_permutation(args.split_file)  # before the data, which may take long to decode
    source = read_source(args.dataset, args.data, args.image_size)
    permutation = (
        read_permutation(args.split_file, len(source.train_labels))
        if args.split_file
        else default_permutation(args.dataset, source.train_labels)
    )
    model = initial_model(args, source).to(device, memory_format=torch.channels_last)
    train = Images(
        torch.from_numpy(source.train_images).to(device),
        torch.from_numpy(source.train_labels).to(device),
        source.padding,
        source.flips,
    )
    test = Images(torch.from_numpy(source.test_images).to(device), torch.from_numpy(source.test_labels).to(device))
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


def initial_model(args: argparse.Namespace, source) -> nn.Module:
    """The network with initial weights drawn from --seed alone, on the CPU, so that every device starts alike."""
    torch.manual_seed(int(generator(args.seed, purpose=INITIAL_WEIGHTS).integers(2**62)))
    return build_model(
        args.arch,
        classes=len(source.classes),
        channels=source.train_images.shape[-1],
        image_size=source.train_images.shape[1],
        mean=source.mean,
        std=source.std,
        stem=args.stem,
    )


def environment(device: torch.device) -> dict[str, str | int]:
    """What bit-equality of two runs depends on beside their settings."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} {name}",
        "threads": torch.get_num_threads(),
    }
