"""What is left of a network without its dropped channels: as a mask that trains, and as a smaller dense network.

`kept` says for each group, by its producer, which channels are kept: {name: bool (channels,)}. The mask drops a
channel's row of the producer with its bias, its batch norm scale and shift and its depth-wise filter on the way, and
its column of every reader: so under the mask the channel is exactly silent, however the network is trained on, and no
weight counts that nothing depends on. The sliced network has none of these numbers and computes the same.
"""

import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lottery.checkpointing.atomic_file import write_atomically
from lottery.checkpointing.checkpoint import read, write
from lottery.greedy.channels.groups import Group, Slot, is_depthwise, layers_of
from lottery.training.precision import matmul_precision
from lottery.training.step import load_weights_
from models import build_model
from models.network_state import copy_network, tensors
from models.units import NORMALIZATION
from pruner import Mask
from utils import InputError, RunError, one_line

Kept = Mapping[str, Tensor]
TOLERANCE = 1e-5  # how far logits of the sliced network may lie from the masked one's, in parts of the largest logit


def channel_mask(model: nn.Module, groups: Iterable[Group], kept: Kept) -> Mask:
    """The mask of all parameters that the channels of these groups have a share in."""
    mask: Mask = {}
    parameters = dict(model.named_parameters())
    for group in groups:
        for slot in group.slots(model):
            if slot.name not in parameters:
                continue  # a running mean: no mask is needed for what nothing scales
            value = parameters[slot.name]
            layer = mask.setdefault(slot.name, torch.ones_like(value, dtype=torch.bool))
            layer &= along(kept[group.producer].to(value.device), slot, value.ndim)
    return mask


def along(channels: Tensor, slot: Slot, ndim: int) -> Tensor:
    """(channels,) laid along a slot's dimension, to be multiplied with its tensor of so many dimensions."""
    shape = [1] * ndim
    shape[slot.dimension] = -1
    return channels.repeat_interleave(slot.span).view(shape)


def sliced(model: nn.Module, groups: Iterable[Group], kept: Kept) -> nn.Module:
    """A copy of the model without the channels that are not kept: an ordinary, smaller network of the same layers."""
    small, touched = copy_network(model), set()
    with torch.no_grad():
        for group in groups:
            for slot in group.slots(small):
                touched.add(_cut_(small, slot, kept[group.producer]))
    for module in touched:
        resize_(module)
    return small


def _cut_(network: nn.Module, slot: Slot, kept: Tensor) -> nn.Module:
    """Leave of one tensor what belongs to kept channels; the module that it is in."""
    owner, _, name = slot.name.rpartition(".")
    module, value = network.get_submodule(owner), network.state_dict(keep_vars=True)[slot.name]
    places = kept.to(value.device).repeat_interleave(slot.span).nonzero()[:, 0]
    rest = value.detach().index_select(slot.dimension, places)
    if not value.is_contiguous():  # as the whole tensor lay in memory
        rest = rest.contiguous(memory_format=torch.channels_last)
    if name in module._parameters:
        module._parameters[name] = nn.Parameter(rest, requires_grad=value.requires_grad)
    else:
        module._buffers[name] = rest
    return module


def resize_(module: nn.Module) -> None:
    """Make a layer say the sizes that its tensors have."""
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
def apart(masked: nn.Module, small: nn.Module, images: Tensor) -> float:
    """The largest difference between two networks' logits in eval mode, in parts of the largest logit."""
    with matmul_precision(images.device, "fp32"):
        expected, got = masked.eval()(images), small.eval()(images)
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny))


def check_same(masked: nn.Module, small: nn.Module, images: Tensor) -> float:
    """`apart`; RunError if that is more than rounding."""
    difference = apart(masked, small, images)
    if not difference <= TOLERANCE:
        raise RunError(
            f"the sliced network's logits differ by {difference:.2g} of the largest from those of the masked one, more "
            f"than {TOLERANCE:g}: this is a bug"
        )
    return difference


# --- files ------------------------------------------------------------------------------------------------------------


def describe(model: nn.Module, arch: str, stem: str, classes: int, channels: int, image_size: int) -> dict:
    """What `models.build_model` needs to build this network again."""
    normalize = model.get_submodule(NORMALIZATION)
    mean, std = (getattr(normalize, name).flatten()[:channels].tolist() for name in ("mean", "std"))
    size = {"classes": classes, "channels": channels, "image_size": image_size, "mean": mean, "std": std}
    return {"arch": arch, "stem": stem, **size}


def save_sliced(path: Path, small: nn.Module, kept: Kept, network: dict, more: dict) -> None:
    """A file that `load_sliced` reads; of it, `state_dict` fits any network of these widths."""
    state = {name: value.contiguous() for name, value in tensors(small).items()}
    numbers = {name: channels.nonzero()[:, 0].tolist() for name, channels in kept.items()}
    write(path, {"state_dict": state, "kept_channels": numbers, "network": network} | more)


def load_sliced(path: Path | str) -> nn.Module:
    """The network in a file of `save_sliced`, in eval mode, on the CPU; InputError if it is another file."""
    content = read(Path(path))
    if missing := {"state_dict", "kept_channels", "network"} - content.keys():
        raise InputError(f"{path} is no sliced network: it has no {sorted(missing)[0]}")
    model = build_model(**content["network"])
    groups = layers_of(model).groups
    kept = {
        name: torch.zeros(groups[name].channels, dtype=torch.bool).index_fill_(0, torch.tensor(numbers), True)
        for name, numbers in content["kept_channels"].items()
    }
    small = sliced(model, [groups[name] for name in kept], kept)
    load_weights_(small, content["state_dict"])
    return small.eval()


def export(path: Path, small: nn.Module, images: Tensor) -> None:
    """Write the network as a program that torch alone can run: torch.export.load(path).module()(images).

    `images`, (b, C, H, W) in [0, 1], b at least 2, is what it is traced with; it takes any number of such images.
    RunError if torch cannot write it.
    """
    twin = copy_network(small).cpu().eval()
    batch = torch.export.Dim("images", min=1)
    example = images[:2].cpu().contiguous()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch to its own developers
        try:
            program = torch.export.export(twin, (example,), dynamic_shapes=({0: batch},))
            torch.export.save(program, file)
            file.seek(0)
            loaded = torch.export.load(file).module()
        except Exception as error:  # torch.export raises many kinds
            raise RunError(f"--export: torch.export cannot write this network ({one_line(error)})") from None
    check_same(twin, _Called(loaded), images.cpu())
    write_atomically(path, lambda target: target.write(file.getbuffer()))


class _Called(nn.Module):
    """A program as a network: it is in eval mode once and for all."""

    def __init__(self, program: nn.Module):
        super().__init__()
        self.program = [program]  # not a submodule: `eval` is not for it

    def forward(self, images: Tensor) -> Tensor:
        return self.program[0](images)
