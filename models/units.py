"""The units of each architecture: which modules are replicated or dropped together, and which are fixed.

A *unit* is a residual block of a ResNet, or a convolution or linear layer of a VGG or MLP with its batch norm (Chen et
al., "The Elastic Lottery Ticket Hypothesis", NeurIPS 2021, section 3). Units are described by the names of their
modules; for a user's own networks, `models.description` reads such a description from a file. Importing this module
does not import torch.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from utils import InputError

from .families import ARCHITECTURES, CIFAR_RESNETS, MLPS, PROJECTION, RESNETS, VGGS, VGGForm

Unit = tuple[str, ...]  # names of modules, as in state_dict keys: ("layer1.0",) or ("features.0", "features.1")
NORMALIZATION = "normalize"


class Stage(NamedTuple):
    """The units of a stage, in order.

    The `first` and `last` so many units change the width or the image size; they correspond one to one to those of a
    relative, and so do the `fixed` modules, which a stage has once whatever its depth.
    """

    units: tuple[Unit, ...]
    first: int = 1
    last: int = 0
    fixed: Unit = ()

    @property
    def modules(self) -> Unit:
        return (*self.fixed, *(module for unit in self.units for module in unit))

    @property
    def normal(self) -> int:
        """The number of units that may be replicated or dropped."""
        return len(self.units) - self.first - self.last


class Family(NamedTuple):
    """A network as a member of a family: relatives have the same `kind` and differ in the number of units per stage.

    Every parameter and buffer belongs to exactly one module of the stem, a stage, or the classifier.
    """

    kind: str
    stem: Unit
    stages: tuple[Stage, ...]
    classifier: Unit

    @property
    def modules(self) -> Unit:
        return (*self.stem, *(module for stage in self.stages for module in stage.modules), *self.classifier)


def owners(name: str, modules: Iterable[str]) -> list[str]:
    """Those of `modules` that a parameter or buffer belongs to, comparing whole names: layer1.1 does not own layer1.10.

    A parameter outside any listed module, such as a position embedding, may be listed itself.
    """
    return [module for module in modules if name == module or name.startswith(f"{module}.")]


def family(arch: str) -> Family:
    """The units of a built-in architecture; InputError for any other name."""
    if arch in CIFAR_RESNETS:
        kind = "CIFAR ResNets with projection shortcuts" if arch.endswith(PROJECTION) else "CIFAR ResNets"
        return _resnet(kind, CIFAR_RESNETS[arch])
    if arch in RESNETS:
        block, units = RESNETS[arch]
        return _resnet(f"ResNets of {block} blocks", units)
    if arch in VGGS:
        return _vgg(VGGS[arch])
    if arch in MLPS:
        return _mlp(len(MLPS[arch].hidden))
    raise InputError(
        f"the units of {arch} are not known, only those of {', '.join(ARCHITECTURES)}: describe them with --family"
    )


def _resnet(kind: str, units: Sequence[int]) -> Family:
    stages = (
        Stage(tuple((f"layer{number}.{unit}",) for unit in range(count))) for number, count in enumerate(units, 1)
    )
    return Family(kind, (NORMALIZATION, "conv1", "bn1"), tuple(stages), ("fc",))


def _vgg(form: VGGForm) -> Family:
    """Modules are numbered consecutively, including a ReLU after each unit and a max-pool between stages."""
    layers = 2 if form.batch_norm else 1
    starts = [0]
    for count in form.units:
        starts.append(starts[-1] + count * (layers + 1) + 1)
    stages = [
        Stage(tuple(_numbered("features", first, layers) for first in range(start, stop - 1, layers + 1)))
        for start, stop in pairwise(starts)
    ]
    kind = "VGGs with batch norm" if form.batch_norm else "VGGs"
    if form.linear == 1:
        return Family(kind, (NORMALIZATION,), tuple(stages), ("classifier",))
    hidden = Stage(tuple((f"classifier.{2 * layer}",) for layer in range(form.linear - 1)), first=0)
    last = f"classifier.{2 * (form.linear - 1)}"
    return Family(f"{kind} and several linear layers", (NORMALIZATION,), (*stages, hidden), (last,))


def _numbered(parent: str, first: int, count: int) -> Unit:
    return tuple(f"{parent}.{number}" for number in range(first, first + count))


def _mlp(hidden: int) -> Family:
    """One stage; the first layer takes the image, the last one narrows to the classifier's input."""
    stage = Stage(tuple((f"fc{number}",) for number in range(1, hidden + 1)), first=1, last=1)
    return Family("MLPs", (NORMALIZATION,), (stage,), (f"fc{hidden + 1}",))
