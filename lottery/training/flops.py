"""FLOPs of a forward pass, weight by weight."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

OTHER = "other"


@torch.no_grad()
def forward_flops(model: nn.Module, images: Tensor) -> dict[str, float]:
    """FLOPs of a forward pass of one image, by name of the weight.

    torch counts them on `images`, (b, C, H, W): two per multiply-add of convolutions and matrix products. They belong
    to the parameter that is a factor, in whatever module, or to the Conv2d or Linear layer whose weights are computed
    from others; the products of activations with each other, as in attention, and with weights that einsum copies, are
    under "other". The network is left in eval mode.
    """
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    counter = FlopCounterMode(display=False)
    with operations_one_by_one(), counter, ByWeight(model, layers, counter) as found:
        model.eval()(images)
    known = {f"{name}.weight": 0 for name in layers} | found.flops
    rest = known.pop(OTHER, 0)
    return {name: flops / len(images) for name, flops in known.items()} | ({OTHER: rest / len(images)} if rest else {})


class ByWeight(TorchDispatchMode):
    """Sorts what a FlopCounterMode counts by the weights that are multiplied: `flops` by name."""

    def __init__(self, model: nn.Module, layers: Sequence[str], counter: FlopCounterMode):
        super().__init__()
        self.counter = counter
        self.weights = {storage(parameter): name for name, parameter in model.named_parameters()}
        self.layers = {f"{type(model).__name__}.{name}" if name else type(model).__name__: name for name in layers}
        self.flops: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        before = self.counter.get_total_flops()
        result = func(*args, **(kwargs or {}))
        if flops := self.counter.get_total_flops() - before:
            self.flops[self.weight_of(args)] += flops
        return result

    def weight_of(self, args: Sequence) -> str:
        """The name of the parameter among the factors, else of the layer that we are in."""
        factors = (storage(arg) for arg in tree_leaves(args) if isinstance(arg, Tensor) and arg.dim() > 1)
        own = next((self.weights[factor] for factor in factors if factor in self.weights), None)
        layer = next((self.layers[name] for name in self.counter.mod_tracker.parents if name in self.layers), None)
        return own or (OTHER if layer is None else f"{layer}.weight")


def storage(tensor: Tensor) -> int:
    """What a tensor and its views have in common, also where there is no memory behind them."""
    return tensor.untyped_storage()._cdata


@contextmanager
def operations_one_by_one() -> Iterator[None]:
    """Attention as single products: torch fuses them, outside training whole layers, into what its counter does not
    know on every device."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
