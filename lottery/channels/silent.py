"""Which channels of a network under a mask emit nothing, whatever the image and however it is trained on."""

from collections.abc import Collection
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from lottery.channels.groups import ChannelGroup
from lottery.channels.slicing import KeptChannels
from pruner import Mask


@torch.no_grad()
def emitting_channels(model: nn.Module, groups: Collection[ChannelGroup], mask: Mask, images: Tensor) -> KeptChannels:
    """The channels of each group, by its producer, that cannot be left out of the network, whose dropped weights are
    zero; `images` are (b, C, H, W).

    A channel can be if the mask drops all that belongs to it in the layers that output or pass it, biases, scales and
    shifts as well, so that it is the same for every image and stays as it is in training; and if all that reads it gets
    zeros, which an activation with f(0) != 0 prevents. At least one channel of a group is kept, since no layer can do
    without any.
    """
    read = inputs_in_use(model, {reader for group in groups for reader in group.readers}, images)
    found = {}
    for group in groups:
        kept = channels_in_mask(model, group, mask)
        for reader in group.readers:
            kept |= read[reader].view(group.channels, -1).any(1)
        if not kept.any():
            kept[0] = True
        found[group.producer] = kept
    return found


def channels_in_mask(model: nn.Module, group: ChannelGroup, mask: Mask) -> Tensor:
    """Which channels, (channels,), have a parameter that the mask keeps in a layer that outputs or passes them."""
    kept = torch.zeros(group.channels, dtype=torch.bool)
    for layer in (*group.producers, *group.passed):
        for name, parameter in model.get_submodule(layer).named_parameters():
            left = mask.get(f"{layer}.{name}", torch.ones_like(parameter, dtype=torch.bool))
            kept |= left.reshape(group.channels, -1).any(1).to(kept.device)
    return kept


def inputs_in_use(model: nn.Module, readers: Collection[str], images: Tensor) -> dict[str, Tensor]:
    """Which inputs of each convolution or linear layer, (inputs,), are anywhere not zero for these images."""
    found: dict[str, Tensor] = {}

    def note(name: str, inputs: Tensor) -> None:
        channels = inputs.movedim(1 if isinstance(model.get_submodule(name), nn.Conv2d) else -1, 0)
        found[name] = channels.flatten(1).any(1)

    with ExitStack() as hooks:
        for name in readers:
            layer = model.get_submodule(name)
            hooks.enter_context(layer.register_forward_pre_hook(lambda _, given, name=name: note(name, given[0])))
        model.eval()(images)
    return found
