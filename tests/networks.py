"""Networks of a user's own, as --arch networks:tiny and the like name them."""

import torch
from torch import nn


def tiny(num_classes: int) -> nn.Module:
    """Small and quick, with batch norm and layers of unequal size."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


def no_network(num_classes: int) -> torch.Tensor:
    return torch.zeros(num_classes)


def only_linear(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes))


def weight_normed(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3)), tiny(num_classes))


def lazy(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, num_classes))


def leaves(num_classes: int) -> nn.Module:
    raise SystemExit(5)
