"""In which basis a network is sparse, as a frozen dataclass. Importing this module does not import torch."""

from dataclasses import dataclass

from utils import InputError

CANONICAL, SVD, SINGLE = "canonical", "svd", "weight"
KEPT = "_kept"  # the ending of the name of a mask of coefficients in a file
OF_A_RUN = ("random", SVD)  # bases that differ from run to run
BASES = {
    CANONICAL: "the weights themselves",
    "dct": "the discrete cosine transform (DCT-II)",
    "haar": "Haar wavelets, unbalanced where a length is no power of two",
    "hadamard": "the Walsh-Hadamard transform, for lengths that are powers of two; it leaves kernels as they are",
    "random": "a rotation drawn from --seed, for each layer and axis its own: a control",
    SVD: "the left singular vectors of the weights that round 0 leaves",
}
AXES = ("out", "in", "kernel")
BLOCKS = {
    SINGLE: "each by itself",
    "filter": "those of an output channel or neuron together (canonical basis)",
    "row": "those of a basis vector of the outputs together, which with svd is a low rank in a fixed column space",
}


def check_optimizer(optimizer: str) -> None:
    """InputError for an optimiser whose step on the weights is none on their coefficients."""
    if optimizer != "sgd":
        raise InputError(
            f"--optimizer {optimizer} scales each weight's step by itself, which does not commute with a basis: train "
            "a mask of coefficients with sgd"
        )


@dataclass(frozen=True)
class BasisConfig:
    """Which coefficients a mask keeps and drops.

    `basis_axes` are the axes of a layer's weights that are transformed, in the order of AXES: all of them where none
    are given, those of the outputs alone for svd, none in the canonical basis. InputError for what does not fit.
    """

    basis: str = CANONICAL  # a key of BASES
    basis_axes: tuple[str, ...] | None = None
    block: str = SINGLE  # a key of BLOCKS: what is pruned as one

    def __post_init__(self) -> None:
        given = self.basis_axes
        self._check(given)
        if self.transforms:
            axes = given or (("out",) if self.basis == SVD else AXES)
            object.__setattr__(self, "basis_axes", tuple(axis for axis in AXES if axis in axes))

    def _check(self, axes: tuple[str, ...] | None) -> None:
        if axes and not self.transforms:
            raise InputError(f"--basis_axes {' '.join(axes)} says which axes a basis transforms: give --basis, too")
        if axes and self.basis == SVD and set(axes) != {"out"}:
            raise InputError(f"--basis svd transforms the outputs alone: --basis_axes out, got {' '.join(axes)}")
        if axes and self.basis == "hadamard" and set(axes) == {"kernel"}:
            raise InputError("--basis hadamard leaves kernels as they are: give --basis_axes out, in or both")
        if self.block == "filter" and self.transforms:
            raise InputError(f"--block filter prunes outputs of the canonical basis, got --basis {self.basis}; --block "
                             "row prunes basis vectors of the outputs")  # fmt: skip
        if self.block == "row" and not (self.transforms and "out" in (axes or AXES)):
            raise InputError("--block row prunes basis vectors of the outputs: give a --basis that transforms out")

    @property
    def transforms(self) -> bool:
        """Whether the mask is one of coefficients, not of weights."""
        return self.basis != CANONICAL

    @property
    def is_plain(self) -> bool:
        """Whether single weights are pruned, as everywhere without these flags."""
        return not (self.transforms or self.in_blocks)

    @property
    def in_blocks(self) -> bool:
        """Whether whole rows of a layer are pruned as one."""
        return self.block != SINGLE

    @property
    def outputs_apart(self) -> str:
        """The flag by which a layer's outputs are treated otherwise than its inputs; empty if none does."""
        if self.in_blocks:
            return f"--block {self.block}"
        if not self.transforms or ("out" in self.basis_axes) == ("in" in self.basis_axes):
            return ""
        return f"--basis {self.basis}" if self.basis == SVD else f"--basis_axes {' '.join(self.basis_axes)}"

    @property
    def units(self) -> str:
        """What is pruned as one, in a word."""
        return {"filter": "filters", "row": "rows"}.get(self.block, "coefficients" if self.transforms else "weights")

    def describe(self) -> str:
        """In a few words, for the log and reports: "dct (in)", "filters"; empty for single weights."""
        if not self.transforms:
            return "filters" if self.in_blocks else ""
        axes = "" if self.basis == SVD or self.basis_axes == AXES else f" ({', '.join(self.basis_axes or ())})"
        return f"{self.basis}{axes}{', rows' if self.in_blocks else ''}"
