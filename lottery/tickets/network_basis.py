"""The basis of a network's prunable weights."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from lottery.bases.basis import Basis, build_basis
from lottery.bases.config import BasisConfig
from lottery.channels.outputs import check_outputs_first, emitting_layers, output_parameters
from models.units import NORMALIZATION


def basis_of_network(
    config: BasisConfig, model: nn.Module, weights: Mapping[str, Tensor], seed: int, images: Tensor
) -> Basis:
    """The basis of these prunable `weights` of a network that is given images, (N, H, W, C)."""
    if config.outputs_apart:
        check_outputs_first(model, weights, config.outputs_apart)
    basis = build_basis(config, weights, seed, layers_on_images(model, seen_image(model, images)))
    if config.block != "filter":
        return basis
    per_output = output_parameters(model, weights)
    return replace(basis, per_output=per_output, emitting=emitting_layers(model, per_output))


def seen_image(model: nn.Module, images: Tensor) -> tuple[int, int, int]:
    """(channels, height, width) of an image as the layers behind the normalisation see it, which may make three
    channels of a grey one."""
    height, width, channels = images.shape[1:]
    mean = getattr(getattr(model, NORMALIZATION, None), "mean", None)
    return mean.numel() if isinstance(mean, torch.Tensor) else channels, height, width


def layers_on_images(model: nn.Module, image: tuple[int, int, int]) -> dict[str, tuple[int, int, int]]:
    """The first layer with weights of a network, if it is a linear one that sees whole images, (C, H, W)."""
    layers = ((name, each) for name, each in model.named_modules() if isinstance(each, nn.Conv2d | nn.Linear))
    name, first = next(layers, ("", None))
    sees_images = isinstance(first, nn.Linear) and first.in_features == image[0] * image[1] * image[2]
    return {f"{name}.weight": image} if sees_images else {}
