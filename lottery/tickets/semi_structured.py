"""2:4 tickets on sparse tensor cores: the Linear weights of a network in torch's semi-structured form, for inference.

NVIDIA GPUs of compute capability 8.0 or higher multiply by weights of which at most 2 of every 4 neighbours along the
inputs are not zero, in float16 or bfloat16 (Mishra et al., 2021, arXiv 2104.08378). torch.sparse stores such weights as
half of the values and their places; its convolutions do not take them.
"""

import torch
from torch import nn

from lottery.patterns import Pattern
from utils import InputError, one_line

PATTERN = Pattern(2, 4)
CAPABILITY = (8, 0)  # the lowest with sparse tensor cores
DTYPES = (torch.float16, torch.bfloat16)
OUTPUTS, INPUTS = 32, 64  # sizes that every back end of torch takes are multiples of these


def to_semi_structured_(model: nn.Module) -> list[str]:
    """Put weights of the `model`'s `Linear` layers into semi-structured form for inference.

    The network is one with a 2:4 ticket, on a CUDA device and in float16 or bfloat16: ``model.half().cuda().eval()``.
    Returns the names of the layers that were changed, `convertible_layers`; others stay as they are.

    InputError for hardware that cannot do it, and if there is no such layer; the model is then unchanged.
    """
    layers = convertible_layers(model)
    if not layers:
        raise InputError(
            f"no Linear layer can be semi-structured: that takes {PATTERN} weights in float16 or bfloat16, of a "
            f"multiple of {OUTPUTS} outputs and of {INPUTS} inputs"
        )
    check_hardware(next(iter(layers.values())).weight.device)
    weights = {name: _compressed(name, layer) for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.weight = nn.Parameter(weights[name], requires_grad=False)
    return list(layers)


def check_hardware(device: torch.device) -> None:
    """InputError unless this is a CUDA device with sparse tensor cores."""
    needed = f"2:4 needs an NVIDIA GPU of compute capability {_version(CAPABILITY)} or higher"
    if device.type != "cuda":
        raise InputError(f"{needed}, got the device {device}")
    if (found := torch.cuda.get_device_capability(device)) < CAPABILITY:
        raise InputError(f"{needed}, {torch.cuda.get_device_name(device)} has {_version(found)}")


def convertible_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The `Linear` layers by name whose weights are 2:4 and of a size and type that torch takes."""
    return {
        name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and _is_convertible(layer)
    }


def _is_convertible(layer: nn.Linear) -> bool:
    weight = layer.weight
    fits = weight.dtype in DTYPES and weight.shape[0] % OUTPUTS == 0 and weight.shape[1] % INPUTS == 0
    return fits and bool(((PATTERN.groups(weight) != 0).sum(1) <= PATTERN.kept).all())


def _compressed(name: str, layer: nn.Linear) -> torch.Tensor:
    try:
        return torch.sparse.to_sparse_semi_structured(layer.weight.detach().contiguous())
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"torch cannot make {name} semi-structured: {one_line(error)}") from error


def _version(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
