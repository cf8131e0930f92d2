"""Names of tensors in open_lth's networks (github.com/facebookresearch/open_lth), and in those of this suite.

| open_lth | here |
|---|---|
| `mnist_lenet_300_100` | `lenet300` (784 inputs), and so on |
| `cifar_resnet_20`, whose shortcuts are projections | `res20s_projection`, and so on |
| `cifar_vgg_16` | `vgg16_bn`, and so on |
| `imagenet_resnet_18`, torchvision's behind `model.` | `res18`, and so on |

The networks compute the same function of normalised images. Names alone decide which network it is; importing this
module does not import torch.
"""

import re
from collections.abc import Callable, Collection, Iterable

Names = dict[str, str]


def from_open_lth(names: Collection[str]) -> Names | None:
    """open_lth's names, each with this suite's; None if they are of no network that both have."""
    return _translated(names, (_mlp_from, _resnet_from, _vgg_from))


def to_open_lth(names: Collection[str]) -> Names | None:
    """This suite's names, each with open_lth's; None if they are of no network that both have."""
    return _translated(names, (_mlp_to, _resnet_to, _vgg_to, _imagenet_resnet_to))


def _translated(names: Collection[str], ways: Iterable[Callable[[Collection[str]], Names]]) -> Names | None:
    """The names by the first way that translates the modules of all of them."""
    modules = {name: name.rpartition(".")[0] for name in names}
    for way in ways:
        found = way(modules.values())
        if names and set(modules.values()) <= found.keys() and len(set(found.values())) == len(found):
            return {name: f"{found[module]}.{name.rpartition('.')[2]}" for name, module in modules.items()}
    return None


def _numbers(pattern: str, modules: Iterable[str]) -> list[int]:
    """The numbers that a pattern's group has in the modules' names, each once, in order."""
    return sorted({int(found[1]) for module in modules if (found := re.fullmatch(pattern, module))})


# --- fully connected: fc_layers.0, fc_layers.1, ..., fc are fc1, fc2, ... -------------------------------------------


def _mlp_from(modules: Collection[str]) -> Names:
    hidden = _numbers(r"fc_layers\.(\d+)", modules)
    return {f"fc_layers.{number}": f"fc{number + 1}" for number in hidden} | {"fc": f"fc{len(hidden) + 1}"}


def _mlp_to(modules: Collection[str]) -> Names:
    layers = _numbers(r"fc(\d+)", modules)
    return {f"fc{number}": f"fc_layers.{number - 1}" for number in layers[:-1]} | {
        f"fc{number}": "fc" for number in layers[-1:]
    }


# --- CIFAR ResNets: blocks.N are counted through; those that begin a stage after the first have a projection --------

STEM = {"conv": "conv1", "bn": "bn1", "fc": "fc"}
BLOCK = {"conv1": "conv1", "bn1": "bn1", "conv2": "conv2", "bn2": "bn2"}
BLOCK |= {f"shortcut.{part}": f"downsample.{part}" for part in (0, 1)}  # open_lth's name first


def _resnet_from(modules: Collection[str]) -> Names:
    projections = set(_numbers(r"blocks\.(\d+)\.shortcut\.0", modules))
    found, stage, unit = dict(STEM), 1, -1
    for block in _numbers(r"blocks\.(\d+)\..*", modules):
        stage, unit = (stage + 1, 0) if block in projections else (stage, unit + 1)
        found |= {f"blocks.{block}.{there}": f"layer{stage}.{unit}.{here}" for there, here in BLOCK.items()}
    return found if len(projections) == 2 else {}


def _resnet_to(modules: Collection[str]) -> Names:
    """Empty without two projections, of layer2 and layer3: shortcuts without parameters are other networks."""
    found, block = {here: there for there, here in STEM.items()}, 0
    if {module for module in modules if module.endswith("downsample.0")} != {
        f"layer{stage}.0.downsample.0" for stage in (2, 3)
    }:
        return {}
    for stage in (1, 2, 3):
        for unit in _numbers(rf"layer{stage}\.(\d+)\..*", modules):
            found |= {f"layer{stage}.{unit}.{here}": f"blocks.{block}.{there}" for there, here in BLOCK.items()}
            block += 1
    return found


# --- VGGs: a unit is one module there and three here, a max-pool one in both ----------------------------------------


def _vgg_from(modules: Collection[str]) -> Names:
    units = _numbers(r"layers\.(\d+)\.conv", modules)
    found, place = {"fc": "classifier"}, 0
    for number in range(max(units, default=-1) + 1):
        if number in units:
            found |= {f"layers.{number}.conv": f"features.{place}", f"layers.{number}.bn": f"features.{place + 1}"}
        place += 3 if number in units else 1
    return found


def _vgg_to(modules: Collection[str]) -> Names:
    """Empty without batch norm, which each convolution of open_lth's has, and with several linear layers."""
    places = _numbers(r"features\.(\d+)", modules)
    found, number, place = {"classifier": "fc"}, 0, 0
    while place <= max(places, default=-1):
        unit = place in places
        if unit:
            found |= {f"features.{place}": f"layers.{number}.conv", f"features.{place + 1}": f"layers.{number}.bn"}
        number, place = number + 1, place + (3 if unit else 1)
    return found


# --- torchvision's ResNets ------------------------------------------------------------------------------------------


def _imagenet_resnet_to(modules: Collection[str]) -> Names:
    return {module: f"model.{module}" for module in modules} if "layer4.0.conv1" in modules else {}
