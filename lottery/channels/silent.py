"""Which channels of a pruned network emit nothing, whatever the image."""

from collections.abc import Collection
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from lottery.channels.groups import ChannelGroup
from lottery.channels.slicing import KeptChannels


@torch.no_grad()
def emitting_channels(model: nn.Module, groups: Collection[ChannelGroup], images: Tensor) -> KeptChannels:
    """The channels of each group, by its producer, that cannot be left out; `images` are (b, C, H, W).

    A channel whose weights are zero in all of its group's producers is the same for every image. It emits nothing if
    all that reads it gets zeros: not where a bias, a batch norm's shift or an activation with f(0) != 0 makes something
    of it. At least one channel of a group is kept, since no layer can do without any.
    """
    read = inputs_in_use(model, {reader for group in groups for reader in group.readers}, images)
    found = {}
    for group in groups:
        weights = [model.get_submodule(name).weight for name in group.producers]
        kept = torch.stack([weight.flatten(1).any(1) for weight in weights]).any(0)
        for reader in group.readers:
            kept |= read[reader].view(group.channels, -1).any(1)
        if not kept.any():
            kept[0] = True
        found[group.producer] = kept
    return found


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
