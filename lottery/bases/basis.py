"""A basis of each layer's weights, and the coefficients of the weights in it.

A layer's weights w, (out, in, *kernel), have the coefficients c = B w, with B orthonormal and a Kronecker product
B_out x B_in x B_h x B_w of a matrix for each axis, the identity where an axis is not transformed. So coefficients have
the shape of the weights, and a mask of coefficients that of a mask of weights. Under a mask m a network has the weights
B^T (m * B w): it is sparse in this basis, and dense in the canonical one.

The first linear layer of a network on images sees its inputs as (channels, height, width), and dct, haar and hadamard
transform height and width instead of one long axis of pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from lottery.bases.config import KEPT, SVD, BasisConfig
from lottery.bases.matrices import dct, haar, hadamard, left_singular_vectors, random_rotation
from utils import InputError, RandomStream, generator

LONGEST = 8192  # of a transformed axis, whose matrix has the square of it
FIXED = {"dct": dct, "haar": haar, "hadamard": hadamard}  # matrices that follow from their size


@dataclass(frozen=True)
class LayerBasis:
    """The basis of one layer: the shape that its weights are seen in, and for each axis of this shape that is
    transformed an orthonormal matrix, (n, n), float64 on the CPU unless `Basis.like` says otherwise.

    `number` is that of the layer among all prunable ones, which random matrices are drawn by.
    """

    view: tuple[int, ...]
    matrices: dict[int, Tensor]
    number: int = 0

    def coefficients(self, weights: Tensor) -> Tensor:
        """B w, in the shape of the weights."""
        return self._transformed(weights, transposed=False)

    def weights(self, coefficients: Tensor) -> Tensor:
        """B^T c, the weights with these coefficients."""
        return self._transformed(coefficients, transposed=True)

    def project(self, weights: Tensor, kept: Tensor) -> Tensor:
        """The nearest weights whose coefficients are zero where `kept` is: B^T (kept * B w)."""
        return self.weights(self.coefficients(weights) * kept)

    def _transformed(self, values: Tensor, transposed: bool) -> Tensor:
        found = values.reshape(self.view)
        for axis, matrix in self.matrices.items():
            matrix = matrix.to(values.device, values.dtype)
            side = matrix.T if transposed else matrix
            found = torch.tensordot(side, found, dims=([1], [axis])).movedim(0, axis)
        return found.reshape(values.shape)


@dataclass(frozen=True)
class Basis:
    """The basis of each layer of a network by the name of its weights. A layer that it does not name, or of which it
    transforms no axis, is in the canonical basis.

    `seed` is what a random one was drawn from. `per_output` names, by the weights of a layer, the parameters with one
    number for each of its outputs that go where a whole filter is pruned, and `emitting` the weights of layers whose
    pruned filters may emit something even so (lottery/channels/outputs.py); None if an older file does not say.
    """

    config: BasisConfig
    seed: int
    layers: dict[str, LayerBasis]
    per_output: dict[str, tuple[str, ...]] = field(default_factory=dict)
    emitting: tuple[str, ...] | None = None

    @property
    def transforms(self) -> bool:
        """Whether the mask is one of coefficients, not of weights."""
        return self.config.transforms

    def coefficients(self, weights: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """The coefficients of the weights of these names."""
        return {name: self._layer(name, weights[name]).coefficients(weights[name].detach()) for name in names}

    @torch.no_grad()
    def project_(self, weights: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
        """Remove from the weights, in place, all coefficients that are not `kept`."""
        for name, layer in kept.items():
            weights[name].copy_(self._layer(name, weights[name]).project(weights[name], layer))
        for part, outputs in self.output_masks(kept).items():
            if part in weights:  # derivatives are of the prunable weights alone
                weights[part].mul_(outputs)

    def output_masks(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The masks, (out,), of the parameters that go with whole outputs: zero where nothing of an output is kept."""
        found: dict[str, Tensor] = {}
        for name, layer in kept.items():
            outputs = layer.reshape(len(layer), -1).amax(1)
            for part in self.per_output.get(name, ()):
                found[part] = found[part] * outputs if part in found else outputs
        return found

    def _layer(self, name: str, weights: Tensor) -> LayerBasis:
        return self.layers.get(name) or LayerBasis(tuple(weights.shape), {})

    def like(self, weights: Mapping[str, Tensor]) -> "Basis":
        """The same with matrices in the number format, and on the device, of a network's weights."""

        def moved(layer: LayerBasis, to: Tensor) -> LayerBasis:
            matrices = {axis: matrix.to(to.device, to.dtype) for axis, matrix in layer.matrices.items()}
            return replace(layer, matrices=matrices)

        layers = {name: moved(layer, weights[name]) for name, layer in self.layers.items() if name in weights}
        return replace(self, layers=layers)

    def renamed(self, names: Mapping[str, str]) -> "Basis":
        """The same for a network that has other names for its weights."""

        def here(name: str) -> str:
            return names.get(name, name)

        per_output = {here(name): tuple(map(here, parts)) for name, parts in self.per_output.items()}
        layers = {here(name): layer for name, layer in self.layers.items()}
        emitting = self.emitting and tuple(map(here, self.emitting))
        return replace(self, layers=layers, per_output=per_output, emitting=emitting)

    @property
    def stored_numbers(self) -> int:
        """How many numbers its matrices have that do not follow from their size or a seed, and so lie in a file."""
        stored = [layer.matrices for layer in self.layers.values()] if self.config.basis == SVD else []
        return sum(matrix.numel() for matrices in stored for matrix in matrices.values())

    # --- in a file ----------------------------------------------------------------------------------------------------

    def record(self) -> dict:
        """Plain data for a checkpoint. Matrices are in it only if they do not follow from the rest."""
        stores, config = self.config.basis == SVD, self.config
        layers = {
            name: {"view": list(layer.view), "axes": list(layer.matrices), "number": layer.number}
            | ({"matrices": dict(layer.matrices)} if stores else {})
            for name, layer in self.layers.items()
        }
        found = {"basis": config.basis, "basis_axes": list(config.basis_axes or ()), "block": config.block}
        per_output = {name: list(parts) for name, parts in self.per_output.items()}
        emitting = {} if self.emitting is None else {"emitting": list(self.emitting)}
        return found | {"seed": self.seed, "layers": layers, "per_output": per_output} | emitting

    @classmethod
    def from_record(cls, record: Mapping, masked: Sequence[str] = ()) -> "Basis":
        """The inverse of `record`. `masked` are all layers with a mask, in the network's order, by which older records
        without numbers are read."""
        config = BasisConfig(record["basis"], tuple(record["basis_axes"]) or None, record["block"])
        makes = _Matrices(config.basis, record["seed"])
        layers, numbers = {}, _layer_numbers(record["layers"], masked)
        for name, layer in record["layers"].items():
            view, axes, number = tuple(layer["view"]), layer["axes"], numbers[name]
            matrices = layer.get("matrices") or {axis: makes(view[axis], number, axis) for axis in axes}
            layers[name] = LayerBasis(view, matrices, number)
        per_output = {name: tuple(parts) for name, parts in record["per_output"].items()}
        emitting = tuple(record["emitting"]) if "emitting" in record else None
        return cls(config, record["seed"], layers, per_output, emitting)

    def arrays(self) -> list[np.ndarray]:
        """What tells it from another basis, for a checksum."""
        words = [(name, layer.view, list(layer.matrices)) for name, layer in sorted(self.layers.items())]
        numbers = [layer.number for layer in self.layers.values()] if self.config.basis == "random" else []
        drawn = (numbers,) if numbers != list(range(len(numbers))) else ()  # left out where they go without saying
        found = [np.frombuffer(repr((self.config.basis, self.seed, words, *drawn)).encode(), dtype=np.uint8)]
        stored = [layer.matrices for _, layer in sorted(self.layers.items())] if self.stored_numbers else []
        return found + [matrix.cpu().numpy() for matrices in stored for matrix in matrices.values()]


def _layer_numbers(layers: Mapping[str, Mapping], masked: Sequence[str]) -> dict[str, int]:
    """The number of each layer in a record.

    Older records leave out numbers that are the layer's place in them. The oldest have none at all; where they lack
    layers that are not transformed, numbers are places among all those `masked`.
    """
    complete = len(layers) >= len(masked) or any("number" in layer for layer in layers.values())
    places = {name: place for place, name in enumerate(layers if complete else masked)}
    return {name: layer.get("number", places[name]) for name, layer in layers.items()}


def same_basis(a: Basis | None, b: Basis | None) -> bool:
    """Whether two masks are of coefficients in the same basis, or both of weights."""
    if a is None or b is None:
        return a is b
    return [each.tobytes() for each in a.arrays()] == [each.tobytes() for each in b.arrays()]


def basis_in(content: Mapping) -> Basis | None:
    """The basis that the mask in a checkpoint is one of; None for a mask of single weights."""
    if not content.get("basis"):
        return None
    state = content["state_dict"]
    names = [name.removesuffix(KEPT) for name in state if name.endswith(KEPT)]
    return Basis.from_record(content["basis"], [name for name in names if f"{name}_orig" in state])


# --- made for weights -----------------------------------------------------------------------------------------------


def build_basis(
    config: BasisConfig,
    weights: Mapping[str, Tensor],
    seed: int,
    images: Mapping[str, tuple[int, int, int]],
) -> Basis:
    """The basis of these prunable weights; svd is that of their values.

    `images` names the layers that see whole images, each with their (channels, height, width). InputError for a layer
    that the basis is not made for.
    """
    makes = _Matrices(config.basis, seed)
    layers = {}
    for number, (name, value) in enumerate(weights.items()):
        view, axes = _view(config, name, tuple(value.shape), images)
        if config.basis == SVD:
            _check_sizes(config, name, [view[0]])
            layers[name] = LayerBasis(view, {0: left_singular_vectors(value)}, number)
            continue
        _check_sizes(config, name, [view[axis] for axis in axes])
        if axes:
            layers[name] = LayerBasis(view, {axis: makes(view[axis], number, axis) for axis in axes}, number)
    if config.transforms and not any(layer.matrices for layer in layers.values()):
        raise InputError(
            f"--basis {config.basis} --basis_axes {' '.join(config.basis_axes or ())} transforms nothing of this "
            "network, whose layers have no such axis of more than one place"
        )
    return Basis(config, seed, layers)


def _view(
    config: BasisConfig, name: str, shape: tuple[int, ...], images: Mapping[str, tuple[int, int, int]]
) -> tuple[tuple[int, ...], list[int]]:
    """The shape that the weights of a layer are seen in, and the axes of it that are transformed, of two places or
    more."""
    view, inputs = shape, [1] if len(shape) > 1 else []
    if name in images and config.basis in FIXED:
        view, inputs = (shape[0], *images[name]), [2, 3]
    kernel = list(range(2, len(shape))) if config.basis != "hadamard" else []
    chosen = {"out": [0], "in": inputs, "kernel": kernel}
    axes = [axis for which in config.basis_axes or () for axis in chosen[which]]
    return view, [axis for axis in axes if view[axis] > 1]


def _check_sizes(config: BasisConfig, name: str, sizes: list[int]) -> None:
    """InputError for an axis that the basis cannot transform."""
    if longest := [size for size in sizes if size > LONGEST]:
        raise InputError(
            f"--basis {config.basis}: {name} has an axis of {longest[0]} places, whose matrix would be too large; at "
            f"most {LONGEST} are transformed" + ("" if config.basis == SVD else ": choose other --basis_axes")
        )
    if config.basis == "hadamard" and (odd := [size for size in sizes if size & (size - 1)]):
        raise InputError(
            f"--basis hadamard needs axes whose length is a power of two, {name} has one of {odd[0]}: choose other "
            "--basis_axes, or dct or haar, which take any length"
        )


class _Matrices:
    """The matrices of a basis, equal ones made once."""

    def __init__(self, basis: str, seed: int):
        self.basis, self.seed, self.made = basis, seed, dict[int, Tensor]()

    def __call__(self, size: int, layer: int, axis: int) -> Tensor:
        """For this axis of the layer of this number; a random one is drawn for it alone."""
        if self.basis not in FIXED:
            return random_rotation(size, generator(self.seed, layer, axis, RandomStream.BASIS))
        if size not in self.made:
            self.made[size] = FIXED[self.basis](size)
        return self.made[size]
