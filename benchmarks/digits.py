"""The problem both comparisons train on: scikit-learn's digits and a ResNet-20s without half of its weights."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.straightforward import Maker, Training
from dataset import Images, default_permutation, split
from lottery.readers.registry import read_source
from lottery.readers.source import Source
from lottery.training.context import images_on
from lottery.training.recipe import Recipe
from lottery.training.step import copy_weights
from models import build_model
from pruner import Ticket, dense, magnitude, prune
from utils import RandomStream, torch_seed

ARCH, DROPPED = "res20s", 0.5


class Digits(NamedTuple):
    """The digits on their device, and those that train."""

    source: Source
    train: Images
    test: Images
    indices: Tensor  # int64 (n,)


def read(device: torch.device) -> Digits:
    source = read_source("digits", ".")
    train, test = images_on(device, source, augmented=True)
    indices = split(default_permutation("digits", source.train_labels)).train
    return Digits(source, train, test, indices.to(device))


def new_model(digits: Digits, seed: int) -> nn.Module:
    """The network, on the CPU, with the weights that a script's --seed gives."""
    torch.manual_seed(torch_seed(seed, purpose=RandomStream.INITIAL_WEIGHTS))
    source = digits.source
    return build_model(
        ARCH,
        classes=len(source.classes),
        channels=source.channels,
        image_size=source.image_size,
        mean=source.mean,
        std=source.std,
    )


def begin(make: Maker, digits: Digits, recipe: Recipe, seed: int) -> Training:
    """A training about to begin: of the half of the initial weights that is largest, so that masks matter."""
    model = new_model(digits, seed).to(digits.train.images.device)
    mask = dense(model)
    ticket = Ticket(prune(mask, magnitude(dict(model.named_parameters()), mask), DROPPED), copy_weights(model))
    return make(model, digits.train, ticket, recipe)
