"""A network without its dropped channels: as a mask that can be trained under, and as a smaller dense network.

`kept` has the channels to keep of each group, by its producer: {name: bool (channels,)}. The mask drops a channel's row
of the producer with its bias, its batch norm scale and shift and its depth-wise filter on the way, and its column of
every reader. Under this mask the channel stays exactly zero however the network is trained on, and no weight is counted
that the output does not depend on. The sliced network lacks all of these entries and computes the same.
"""

import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lottery.channels.groups import ChannelGroup, Slot, find_all_groups
from lottery.channels.operations import is_depthwise
from lottery.checkpointing.atomic_file import write_atomically
from lottery.checkpointing.checkpoint import read, write
from lottery.training.config import ModelConfig
from lottery.training.precision import matmul_precision
from lottery.training.step import load_weights_
from models import build_model
from models.network_state import copy_network, tensors
from models.units import NORMALIZATION
from pruner import Mask
from utils import InputError, RunError, one_line

KeptChannels = Mapping[str, Tensor]  # producer -> bool (channels,)
TOLERANCE = 1e-5  # of `relative_difference`, for rounding
COARSER = ("cuda",)  # devices whose rounding may be larger


def channel_mask(model: nn.Module, groups: Iterable[ChannelGroup], kept: KeptChannels) -> Mask:
    """The mask of all parameters in which the channels of these groups have entries."""
    mask: Mask = {}
    parameters = dict(model.named_parameters())
    for group in groups:
        for slot in group.slots(model):
            if slot.name not in parameters:
                continue  # a buffer: without scale and shift it has no effect
            value = parameters[slot.name]
            layer = mask.setdefault(slot.name, torch.ones_like(value, dtype=torch.bool))
            layer &= broadcast_channels(kept[group.producer].to(value.device), slot, value.ndim)
    return mask


def broadcast_channels(channels: Tensor, slot: Slot, ndim: int) -> Tensor:
    """A value per channel, (channels,), shaped to be multiplied with a slot's tensor of `ndim` dimensions."""
    shape = [1] * ndim
    shape[slot.dimension] = -1
    return channels.repeat_interleave(slot.span).view(shape)


def slice_network(model: nn.Module, groups: Iterable[ChannelGroup], kept: KeptChannels) -> nn.Module:
    """A copy of the model without the dropped channels: an ordinary, smaller network of the same layers."""
    small, touched = copy_network(model), set()
    with torch.no_grad():
        for group in groups:
            for slot in group.slots(small):
                touched.add(_slice_(small, slot, kept[group.producer]))
    for module in touched:
        update_sizes_(module)
    return small


def _slice_(network: nn.Module, slot: Slot, kept: Tensor) -> nn.Module:
    """Replace one tensor by its entries for the kept channels; returns the module it belongs to."""
    owner, _, name = slot.name.rpartition(".")
    module, value = network.get_submodule(owner), network.state_dict(keep_vars=True)[slot.name]
    places = kept.to(value.device).repeat_interleave(slot.span).nonzero()[:, 0]
    rest = value.detach().index_select(slot.dimension, places)
    if not value.is_contiguous():  # keep the memory format
        rest = rest.contiguous(memory_format=torch.channels_last)
    if name in module._parameters:
        module._parameters[name] = nn.Parameter(rest, requires_grad=value.requires_grad)
    else:
        module._buffers[name] = rest
    return module


def update_sizes_(module: nn.Module) -> None:
    """Set a layer's size attributes to the sizes of its tensors."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        depthwise = is_depthwise(module)
        module.out_channels = len(module.weight)
        module.groups = len(module.weight) if depthwise else 1
        module.in_channels = module.weight.shape[1] * module.groups
    else:
        module.num_features = len(module.weight if module.weight is not None else module.running_mean)


@torch.no_grad()
def relative_difference(masked: nn.Module, small: nn.Module, images: Tensor) -> float:
    """The largest difference between two networks' logits in eval mode, relative to the largest logit."""
    with matmul_precision(images.device, "fp32"):
        expected, got = masked.eval()(images), small.eval()(images)
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny))


def check_equivalent(masked: nn.Module, small: nn.Module, images: Tensor) -> float:
    """`relative_difference`, which is returned; RunError if it is more than rounding.

    On a GPU rounding may be larger, where a layer of another width is computed by another algorithm: there the networks
    are compared in float64 before they are called different.
    """
    difference = relative_difference(masked, small, images)
    if not difference <= TOLERANCE and not (
        images.device.type in COARSER and equivalent_in_float64(masked, small, images)
    ):
        raise RunError(
            f"the logits of the sliced and the masked network differ by {difference:.2g} of the largest, more than "
            f"{TOLERANCE:g}: this is a bug"
        )
    return difference


def equivalent_in_float64(masked: nn.Module, small: nn.Module, images: Tensor) -> bool:
    copies = [copy_network(network).double() for network in (masked, small)]
    return relative_difference(*copies, images.double()) <= TOLERANCE


# --- files ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def network_arguments(model: nn.Module, config: ModelConfig, images: Tensor) -> dict:
    """The arguments with which `models.build_model` builds this network for such `images`, (b, C, H, W)."""
    _, channels, image_size, _ = images.shape
    classes = model.eval()(images[:2]).shape[1]
    normalize = model.get_submodule(NORMALIZATION)
    mean, std = (getattr(normalize, name).flatten()[:channels].tolist() for name in ("mean", "std"))
    size = {"classes": classes, "channels": channels, "image_size": image_size, "mean": mean, "std": std}
    return {"arch": config.arch, "stem": config.stem, **size}


def save_sliced(path: Path, small: nn.Module, kept: KeptChannels, network: dict, more: dict) -> None:
    """Write a file that `load_sliced` reads; `network` are the `network_arguments`, `more` is stored beside."""
    state = {name: value.contiguous() for name, value in tensors(small).items()}
    numbers = {name: channels.nonzero()[:, 0].tolist() for name, channels in kept.items()}
    write(path, {"state_dict": state, "kept_channels": numbers, "network": network} | more)


def load_sliced(path: Path | str) -> nn.Module:
    """The network in a file of `save_sliced`, in eval mode, on the CPU; InputError if the file is another one."""
    content = read(Path(path))
    if missing := {"state_dict", "kept_channels", "network"} - content.keys():
        raise InputError(f"{path} is no sliced network: it has no {sorted(missing)[0]}")
    model = build_model(**content["network"])
    groups = find_all_groups(model)
    if unknown := content["kept_channels"].keys() - groups.keys():
        arch = content["network"]["arch"]
        raise InputError(
            f"{path} does not fit the network {arch}, which has no channels {sorted(unknown)[0]} to leave out"
        )
    kept = {
        name: torch.zeros(groups[name].channels, dtype=torch.bool).index_fill_(0, torch.tensor(numbers), True)
        for name, numbers in content["kept_channels"].items()
    }
    small = slice_network(model, [groups[name] for name in kept], kept)
    load_weights_(small, content["state_dict"])
    return small.eval()


def export_program(path: Path, small: nn.Module, images: Tensor) -> None:
    """Write the network as a program that needs torch alone: torch.export.load(path).module()(images).

    It is traced with `images`, (b, C, H, W) in [0, 1] with b >= 2, and accepts any number of such images. RunError if
    torch cannot export it.
    """
    twin = copy_network(small).cpu().eval()
    batch = torch.export.Dim("images", min=1)
    example = images[:2].cpu().contiguous()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # addressed to torch's developers
        try:
            program = torch.export.export(twin, (example,), dynamic_shapes=({0: batch},))
            torch.export.save(program, file)
            file.seek(0)
            loaded = torch.export.load(file).module()
        except Exception as error:  # torch.export raises many kinds
            raise RunError(f"--export: torch.export cannot write this network ({one_line(error)})") from None
    check_equivalent(twin, _Called(loaded), images.cpu())
    write_atomically(path, lambda target: target.write(file.getbuffer()))


class _Called(nn.Module):
    """An exported program as a network, always in eval mode."""

    def __init__(self, program: nn.Module):
        super().__init__()
        self.program = [program]  # in a list, so not a submodule: it has no `eval`

    def forward(self, images: Tensor) -> Tensor:
        return self.program[0](images)
