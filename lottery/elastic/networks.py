"""Source and target of a transfer as networks, built for the images that the source's weights are for."""

from collections.abc import Iterable, Mapping
from math import isqrt
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from lottery.elastic.config import ElasticConfig
from lottery.tickets.state_dict_formats import dims, renaming
from lottery.tickets.ticket_file import TicketFile
from models import ARCHITECTURES, build_model
from models.description import Description
from models.families import MLPS
from models.network_state import tensors
from models.units import NORMALIZATION, Family, family, owners
from pruner import Weights
from utils import InputError

IMAGE_SIZE = 32  # of a convolutional network's images: its weights do not depend on it


class Member(NamedTuple):
    """A network, and what its units are."""

    network: nn.Module
    family: Family


def build_members(config: ElasticConfig, init: TicketFile) -> tuple[Member, Member]:
    """Source and target; InputError if the starting weights in `init` are not the source's."""
    arch, target = config.mapping.source_arch, config.mapping.target_arch
    classifier = config.family.classifier(arch) if config.family else family(arch).classifier
    state = plain_names(init.starting_state)
    images = image_spec(state, arch, classifier[-1], init.path)
    source = build_member(config, arch, images)
    if size := size_by_positions(source.network, state):
        images = images | {"image_size": size, "tried": False}
        source = build_member(config, arch, images)
    return source, build_member(config, target, images)


def build_member(config: ElasticConfig, arch: str, images: Mapping) -> Member:
    network = build_model(arch, stem=config.mapping.stem, **images)
    return Member(network, network_family(config.family, arch, tensors(network)))


def size_by_positions(network: nn.Module, state: Weights) -> int | None:
    """The size of the images that a vision transformer with these weights takes, by its table of positions, (1, tokens,
    features): tokens are square patches and a few more. None if the network has the same table already, or no such.
    """
    own = {name: value for name, value in tensors(network).items() if value.ndim == 3 and len(value) == 1}
    tables = [state[name] for name, value in own.items() if name in state and state[name].shape != value.shape]
    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d) and each.kernel_size == each.stride]
    return layers[0].kernel_size[0] * isqrt(tables[0].shape[1]) if tables and layers and tables[0].ndim == 3 else None


def network_family(description: Description | None, arch: str, names: Iterable[str]) -> Family:
    """The units of a network whose parameters and buffers have these names: described, or those of our own network."""
    return description.member(arch, names) if description else family(arch)


def plain_names(state: Weights) -> Weights:
    """Starting weights without the prefixes that wrappers put before the names of a network's tensors."""
    names = renaming(state, lambda found: f"{NORMALIZATION}.mean" in found)
    return {names[name]: value for name, value in state.items()}


def image_spec(state: Weights, arch: str, classifier: str, path: Path) -> dict:
    """The arguments of `build_model` for a network with these weights, read from `path`: classes, by the last module of
    its classifier, and kind of images."""
    logits = [value for name, value in state.items() if owners(name, [classifier]) and value.ndim]
    if not logits:
        raise InputError(f"{path} belongs to another network than --source_arch: it has no {classifier}")
    if not any(owners(name, [NORMALIZATION]) for name in state):
        raise InputError(
            f"{path} does not say how images are normalised, which is carried to the target, too: give the checkpoint "
            "that it was made from"
        )
    mean, std = (_tensor(state, f"{NORMALIZATION}.{name}", path) for name in ("mean", "std"))
    if mean.shape != std.shape or mean.shape not in [(1,), (3,)]:
        shapes = ", ".join(dims(tensor.shape) for tensor in (mean, std))
        raise InputError(f"{path} has no normalisation of grey or of colour images: its mean and std are {shapes}")
    return {
        "classes": len(logits[-1]),
        "channels": len(mean),
        "image_size": _image_size(state, arch, len(mean), path),
        "mean": mean.tolist(),
        "std": std.tolist(),
    }


def _image_size(state: Weights, arch: str, channels: int, path: Path) -> int | None:
    """None for a network of the user's own: which size it takes is not known, so it is not tried on images."""
    if arch not in MLPS:
        return IMAGE_SIZE if arch in ARCHITECTURES else None
    first = _tensor(state, "fc1.weight", path)
    return isqrt(first[0].numel() // channels)


def _tensor(state: Weights, name: str, path: Path) -> Tensor:
    if name not in state or state[name].ndim == 0:
        raise InputError(f"{path} belongs to another network than --source_arch: it has no {name}")
    return state[name]
