"""What tests of models share: networks and images with fixed seeds."""

import subprocess
import sys
from pathlib import Path

import torch

from models import build_model

ROOT = Path(__file__).parents[2]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def network(arch, *, classes=10, channels=3, size=32, seed=0, **more):
    torch.manual_seed(seed)
    statistics = {"mean": MEAN[:channels], "std": STD[:channels]}
    return build_model(arch, classes=classes, channels=channels, image_size=size, **statistics, **more)


def images(n=4, channels=3, size=32):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))


def normalized(x):
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def without_normalize(state):
    return {name: value for name, value in state.items() if not name.startswith("normalize.")}


def shapes(state):
    return [(name, tuple(value.shape)) for name, value in without_normalize(state).items()]


def unsettle_(model):
    """Give batch norm and biases values that are not 0 or 1, so that forgetting one of them shows."""
    for name, value in model.state_dict().items():
        if value.ndim == 1 and not name.startswith("normalize."):
            value.uniform_(0.5, 1.5)
    return model


def modules(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


def python(code):
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())
