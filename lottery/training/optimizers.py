"""The optimisers of a step, SGD and Adam, their state in fixed buffers.

A captured step reads and writes the same addresses for ever: the state is there from the beginning, is zeroed for a new
training and copied from a checkpoint, and the learning rate is a tensor. Both optimisers work on each weight by itself,
so that zeroing the dropped ones after every step leaves the kept ones as masked gradients would.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from lottery.training.recipe import Recipe

BETA2 = 0.999  # of Adam
STATE: dict[type, tuple[str, ...]] = {  # torch's names, in the order of a checkpoint's "momentum"
    SGD: ("momentum_buffer",),
    Adam: ("exp_avg", "exp_avg_sq", "step"),
}


def build_optimizer(parameters: Sequence[nn.Parameter], lr: Tensor, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser, fused, with zero state; it reads its learning rate from `lr` at every step."""
    optimizer = _adam(parameters, lr, recipe) if recipe.optimizer == "adam" else _sgd(parameters, lr, recipe)
    for parameter in parameters:
        for name in STATE[type(optimizer)]:
            optimizer.state[parameter][name] = zero_state(name, parameter)
    return optimizer


def _sgd(parameters: Sequence[nn.Parameter], lr: Tensor, recipe: Recipe) -> SGD:
    decay, nesterov = recipe.weight_decay, recipe.nesterov
    return SGD(parameters, lr, recipe.momentum, weight_decay=decay, nesterov=nesterov, fused=True)


def _adam(parameters: Sequence[nn.Parameter], lr: Tensor, recipe: Recipe) -> Adam:
    # torch would warn of steps that run uncaptured: the plain step, against which a captured one is checked.
    warnings.filterwarnings("ignore", "This instance was constructed with capturable=True", UserWarning)
    betas, on_gpu = (float(recipe.momentum), BETA2), lr.device.type == "cuda"
    return Adam(parameters, lr, betas, weight_decay=recipe.weight_decay, fused=True, capturable=on_gpu)


def zero_state(name: str, parameter: nn.Parameter) -> Tensor:
    """A zero buffer: a count of steps, or one value a weight.

    Fused optimisers on a CPU ignore strides: a buffer must lie in memory as its weight does.
    """
    if name == "step":
        return torch.zeros((), dtype=torch.float32, device=parameter.device)
    return torch.zeros_like(parameter)


def optimizer_state(optimizer: Optimizer) -> list[list[Tensor]]:
    """The buffers themselves: a list of each kind in `STATE`, in the order of the parameters."""
    parameters = optimizer.param_groups[0]["params"]
    return [[optimizer.state[parameter][name] for parameter in parameters] for name in STATE[type(optimizer)]]


def weight_state(optimizer: Optimizer, parameter: nn.Parameter) -> list[Tensor]:
    """The buffers with one value for each weight of this parameter; none for one that is not trained."""
    state = optimizer.state.get(parameter, {})
    return [state[name] for name in STATE[type(optimizer)] if name in state and name != "step"]


@torch.no_grad()
def reset_(optimizer: Optimizer, second_moment: float = 0.0) -> None:
    """Zero the state; the second moments of Adam become this number."""
    for name, buffers in zip(STATE[type(optimizer)], optimizer_state(optimizer), strict=True):
        for buffer in buffers:
            buffer.fill_(second_moment if name == "exp_avg_sq" else 0.0)


def mean_second_moment(optimizer: Adam) -> float:
    """The mean over all weights of Adam's second moments."""
    moments = optimizer_state(optimizer)[STATE[Adam].index("exp_avg_sq")]
    total = torch.stack([buffer.double().sum() for buffer in moments]).sum()
    return float(total) / max(1, sum(buffer.numel() for buffer in moments))
