"""FLOPs of a forward pass, layer by layer."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

OTHER = "other"


@torch.no_grad()
def forward_flops(model: nn.Module, images: Tensor) -> dict[str, float]:
    """FLOPs of a forward pass of one image, by name of the weight.

    torch counts them on `images`, (b, C, H, W): two per multiply-add of convolutions and matrix products. FLOPs outside
    the Conv2d and Linear layers are under "other". The network is left in eval mode.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        model.eval()(images)
    counted = {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}
    root = type(model).__name__
    layers = {
        f"{name}.weight": counted.get(f"{root}.{name}", 0) / len(images)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    rest = counter.get_total_flops() / len(images) - sum(layers.values())
    return layers | ({OTHER: rest} if rest > 0 else {})
