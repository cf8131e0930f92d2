"""Whether `--compile auto` has a network compiled on a CPU: decided by a rule, never by a stopwatch.

Equal commands on equal hardware must give equal bits, and compiled code rounds in another way. So the decision follows
from what is known before the first step: the processor, the number format, the network and the steps that are planned.

What compiling gains is memory traffic: batch norm, ReLU and additions, each a pass over the activations, become one.
Images a second in training, res20s, 32 x 32 pixels, batches of 128, two cores:

    processor                   precision   plain            compiled
    Intel Xeon with AMX         fp32        670 to 796       891
                                bf16        1 076 to 1 274   1 630
    AMD EPYC with AVX512-BF16   fp32        593 to 640       591
    (no AMX)                    bf16        870 to 980       879

It pays with AMX alone, which is therefore the rule's first question. Where it does, a step is expected to gain the
least that these measurements allow (against the faster of the plain ones), in proportion to the elements that the
network's convolutions put out, which is what those passes go over, and in inverse proportion to the threads. A network
without convolutions, such as an MLP, has next to nothing between its matrix products and stays as it is.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dataset import to_input
from lottery import ranks
from lottery.terminal import counted
from lottery.training.context import TrainingContext
from models.python_state import generators_kept, python_state_kept

MEASURED_ELEMENTS = 188_416  # that the 19 convolutions of res20s put out for an image of 32 x 32 pixels
MEASURED_THREADS = 2
MEASURED_RATES = {"fp32": (796, 891), "bf16": (1274, 1630)}  # images a second, plain and compiled, with AMX
SECONDS_PER_CONVOLUTION = 29.7 / 19  # of compiling res20s on that Xeon, with an empty cache


class Activations(NamedTuple):
    """What the convolutions of a network put out for one image."""

    convolutions: int  # how many there are
    elements: int


def has_amx() -> bool:
    """Whether the processor has Intel's Advanced Matrix Extensions and torch may use them."""
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)  # torch has no public question
    return ask is not None and ask()


def seconds_gained(activations: Activations, precision: str, images: int, threads: int) -> float:
    """What compiling is expected to save in training on so many images."""
    plain, compiled = MEASURED_RATES[precision]
    per_element = (1 / plain - 1 / compiled) * MEASURED_THREADS / MEASURED_ELEMENTS
    return images * activations.elements * per_element / threads


def seconds_to_compile(activations: Activations) -> float:
    """What compiling is expected to take with an empty cache."""
    return activations.convolutions * SECONDS_PER_CONVOLUTION


def is_worth_compiling(
    activations: Activations, precision: str, steps: int, batch_size: int, threads: int
) -> tuple[bool, str]:
    """Whether a network is to be compiled on a CPU with AMX that is to take so many optimiser steps, and why."""
    if not activations.convolutions:
        return False, "not compiled, since the network has no convolutions"
    gain, cost = seconds_gained(activations, precision, steps * batch_size, threads), seconds_to_compile(activations)
    worth = gain > cost
    return worth, (
        f"{'' if worth else 'not '}compiled, since this processor has AMX and {counted(steps, 'planned step')} may "
        f"gain {gain:,.0f} s by it, which takes about {cost:,.0f} s at the start"
    )


@torch.no_grad()
def convolution_activations(model: nn.Module, images: Tensor) -> Activations:
    """What the convolutions of the model put out for each of these images, (b, C, H, W). A layer that is called twice
    counts twice. The network is left in eval mode."""
    elements: list[int] = []

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        elements.append(output.numel() // len(images))

    layers = [module for module in model.modules() if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with generators_kept([]), python_state_kept(model):
            model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return Activations(len(elements), sum(elements))


# --- the decision of a run --------------------------------------------------------------------------------------------


def settle_compiling_(context: TrainingContext, saved: Mapping | None, steps: int) -> list[str]:
    """Decide whether `--compile auto` has the network compiled on this CPU, in a run of so many optimiser steps, and
    record it in the environment; what the log is to say. Of several calls for a context the first one decides.

    A run that goes on from a `saved` state is compiled if it was so far: otherwise its bits would change midway.
    """
    fast_step = context.step.fast_step
    if fast_step.settled:
        return []
    fast_step.settled = True
    if saved:
        context.environment["compile"] = saved["environment"].get("compile", "auto")
        compiles = context.environment["compile"] == "on"
        why = "compiled, as this run has been so far" if compiles else None
    else:
        compiles, why = ranks.from_first(partial(decide, context, steps))
        context.environment["compile"] = "on" if compiles else "auto"
    if compiles:
        fast_step.compile_network_()
    return [f"--compile auto: {why}"] if why else []


def decide(context: TrainingContext, steps: int) -> tuple[bool, str | None]:
    """Whether a new run compiles its network, and why; without AMX there is nothing to decide, nor to say."""
    if not has_amx():
        return False, None
    activations = convolution_activations(context.model, to_input(context.train.at(slice(1))))
    threads = torch.get_num_threads()
    return is_worth_compiling(activations, context.step.precision, steps, context.recipe.batch_size, threads)
