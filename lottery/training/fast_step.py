"""Faster variants of the optimiser step (CUDA graphs, torch.compile), each checked against the plain step.

A step launches hundreds of small kernels; on a GPU the launches take longer than the work. A CUDA graph launches all of
them at once: it replays what it has recorded, at the same addresses, so every input is written into a fixed buffer.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from lottery import ranks
from lottery.training.batch_selection import BatchSelection
from lottery.training.captured_graph import CapturedGraph, Update
from lottery.training.compiled_code import keep_compiled_code
from lottery.training.optimizers import mean_second_moment, optimizer_state, reset_
from models.custom import UserNetwork
from models.python_state import PythonState, generators_kept, python_state, python_state_kept
from utils import listed, one_line

# How far the change made by a faster step may lie from that of the plain step, relative to the change itself. A step
# that leaves something out differs by about 1. Rounding errors are small in the forward pass (loss, batch norm); in the
# gradients they grow where an activation crosses the edge of a ReLU: 0.3 % for res20s and 2.6 % for vgg16_bn between
# two implementations of fp32, 5 and 34 % in bfloat16.
FORWARD_TOLERANCE = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}
BACKWARD_TOLERANCE = {"fp32": 0.1, "tf32": 0.2, "bf16": 0.6}
RIGHT_TOLERANCE = 0.7  # many guesses of an untrained network are close to ties
KEPT_SIZES = 2  # batch sizes whose variants are kept: the full one and that of the last batch


class PlainStep(Protocol):
    """The step that is accelerated, with its state."""

    model: nn.Module
    device: torch.device
    precision: str
    parameters: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    loss_sum: Tensor
    right: Tensor
    selection: BatchSelection | None

    @property
    def learned(self) -> list[Tensor]: ...

    def update(self, visits: Tensor, network: Callable[[Tensor], Tensor]) -> None: ...


class StepVariant(NamedTuple):
    """An implementation of the step, named "plain", "compiled", "graph" or "compiled graph"."""

    name: str
    update: Update


VARIANT_NOTES = {  # what the log says of a variant that replaces a faster one
    "plain": "every operation runs on its own",
    "graph": "the step is one CUDA graph all the same, of the network as it is",
}


class FastStep:
    """Runs the fastest variant of a step that computes what the plain step does.

    The first batch of each size is run by both from the same state. A variant that cannot be built, fails, or differs
    by more than rounding is logged, not tried again, and replaced by the next one.
    """

    def __init__(self, step: PlainStep, batch_size: int, compile: str, log: Callable[[str], object]):
        self.step, self.batch_size, self.log = step, batch_size, log
        self.captures = compile != "off" and step.device.type == "cuda"
        self.compiled: Callable[[Tensor], Tensor] | None = None
        self.settled = compile != "auto" or step.device.type != "cpu"  # whether it is decided if it is to be compiled
        self.variants: dict[int, StepVariant] = {}  # batch size -> variant, most recently used last
        self.failed: dict[str, str] = {}  # variant -> why it is not used
        self.may_change = isinstance(step.model, UserNetwork)
        self.recorded: PythonState | None = None  # when a variant was last chosen
        if compile == "on":
            self.compile_network_()

    def compile_network_(self) -> None:
        """From the next full batch on, use the network compiled. It is compiled when that comes, for its size alone,
        and stays so whatever values are loaded into its tensors."""
        keep_compiled_code()
        self.compiled = torch.compile(self.step.model, dynamic=False)
        self.forget()

    def __call__(self, visits: Tensor) -> None:
        size = visits.shape[1]
        variant = self.variants.pop(size, None) or self.choose(visits)
        self.variants[size] = variant
        while len(self.variants) > KEPT_SIZES:
            del self.variants[next(iter(self.variants))]  # frees an old graph
        variant.update(visits)

    @property
    def used(self) -> str | None:
        """The variant used for full batches, or for the latest batch if none was full; None before the first step."""
        variant = self.variants.get(self.batch_size) or next(reversed(self.variants.values()), None)
        return variant and variant.name

    @property
    def fallback(self) -> str | None:
        """Why faster variants are not used; None if none has failed."""
        return "; ".join(dict.fromkeys(self.failed.values())) or None

    def forget(self) -> None:
        """Drop all recordings; to be called when the step's buffers are replaced."""
        self.variants.clear()

    def begin_epoch(self) -> None:
        """Drop recordings that no longer match a user's network, for example one whose `train` changes a number."""
        recorded = any(variant.name != "plain" for variant in self.variants.values())
        if recorded and self.may_change and self.recorded.differs(python_state(self.step.model)):
            self.forget()

    def choose(self, visits: Tensor) -> StepVariant:
        """The fastest valid variant for batches of this size; the step's state is left unchanged."""
        plain, known = partial(self.step.update, network=self.step.model), len(self.failed)
        self.recorded = python_state(self.step.model)
        for name in self.faster_variants(visits.shape[1]):
            if variant := self.try_variant(name, plain, visits):
                break
        else:
            variant = StepVariant("plain", plain)
        if reasons := dict.fromkeys(list(self.failed.values())[known:]):
            self.log(f"note: the faster step is not used ({'; '.join(reasons)}); {VARIANT_NOTES[variant.name]}")
        return variant

    def faster_variants(self, size: int) -> list[str]:
        """The variants to try for batches of this size, fastest first, without those that have failed."""
        if self.step.selection and size != self.batch_size:
            return []  # the last batch has another size in every epoch, of which no recording would be used again
        compiles = self.compiled is not None and size == self.batch_size
        found = ["compiled graph" if self.captures else "compiled"] if compiles else []
        found += ["graph"] if self.captures else []
        return [name for name in found if name not in self.failed]

    def try_variant(self, name: str, plain: Update, visits: Tensor) -> StepVariant | None:
        """The variant of this name if it computes what `plain` does, on all ranks, otherwise None."""
        fast = partial(self.step.update, network=self.compiled) if name.startswith("compiled") else plain
        variant = None
        try:
            variant = StepVariant(name, self.check_against_plain(plain, fast, visits))
        except Exception as error:  # compilers, drivers and users' networks raise many kinds
            self.failed[name] = one_line(error)
        if not ranks.all_agree(variant is not None):
            self.failed.setdefault(name, "another rank cannot use it")
            return None
        return variant

    @property
    def pool(self) -> tuple[int, int] | None:
        """The memory pool of the existing graphs, to be shared by a new one; None if there are none.

        torch does not admit a graph to a pool that all others have left.
        """
        graphs = (variant.update for variant in self.variants.values() if isinstance(variant.update, CapturedGraph))
        return next((graph.pool for graph in graphs), None)

    def check_against_plain(self, plain: Update, fast: Update, visits: Tensor) -> Update:
        """`fast`, captured as a graph if that is wanted; RuntimeError if its result differs from that of `plain`."""
        before, devices = cloned(self.state()), [self.step.device] if self.captures else []
        try:
            with generators_kept(devices), python_state_kept(self.step.model):
                second_moment = self.second_moment(plain, visits, before)
                after_plain = self.state_after(plain, visits, before, second_moment)
                self.check_python_state()
                if self.captures:
                    fast = CapturedGraph(fast, visits, self.pool, self.step.optimizer.zero_grad)
                after_fast = self.state_after(fast, visits, before, second_moment)
                apart = relative_errors(before, after_plain, after_fast)
        finally:
            restore_(self.state(), before)
        if self.captures:
            torch.cuda.empty_cache()  # of memory that only the plain step needs
        if not all(part <= allowed for part, allowed in zip(apart, self.tolerances, strict=True)):  # NaN is not <=
            errors = ", ".join(f"{part:.2g}" for part in apart)
            raise RuntimeError(f"its result differs from the plain step's, by {errors} of the change")
        return fast

    def check_python_state(self) -> None:
        """RuntimeError if the plain step has just changed more than the values of the network's tensors, which a
        recording would not repeat."""
        if changed := self.recorded.changed(python_state(self.step.model)):
            raise RuntimeError(f"each step changes {listed(changed)}, which a recorded one would not")

    @property
    def tolerances(self) -> list[float]:
        """The allowed relative error of each group of the state."""
        forward, backward = FORWARD_TOLERANCE[self.step.precision], BACKWARD_TOLERANCE[self.step.precision]
        kinds = len(optimizer_state(self.step.optimizer))
        return [backward, *kinds * [backward], forward, forward, RIGHT_TOLERANCE, forward]

    def second_moment(self, plain: Update, visits: Tensor, before: list[list[Tensor]]) -> float:
        """What Adam's second moments begin the check with: the mean of those that its first step leaves. 0 for SGD.

        From zero Adam's first step moves every weight by the learning rate, whichever way its gradient points: where
        that is but a rounding error, so is the way. From the mean of all it moves a weight about in proportion to its
        gradient, as SGD does, and the same tolerances hold.
        """
        if not isinstance(self.step.optimizer, torch.optim.Adam):
            return 0.0
        self.state_after(plain, visits, before)
        return mean_second_moment(self.step.optimizer)

    def state_after(
        self, update: Update, visits: Tensor, before: list[list[Tensor]], second_moment: float = 0.0
    ) -> list[list[Tensor]]:
        """The state after one update from `before`, with the optimiser as `reset_` leaves it and a fixed seed."""
        restore_(self.state(), before)
        reset_(self.step.optimizer, second_moment)
        torch.manual_seed(0)
        update(visits)
        return cloned(self.state())

    def state(self) -> list[list[Tensor]]:
        """Everything a step changes: weights, each kind of the optimiser's state, buffers, loss sum, right predictions,
        the losses of examples."""
        step = self.step
        return [
            step.learned,
            *optimizer_state(step.optimizer),
            list(step.model.buffers()),
            [step.loss_sum],
            [step.right],
            [step.selection.losses] if step.selection else [],
        ]


def cloned(groups: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    return [[tensor.detach().clone() for tensor in group] for group in groups]


@torch.no_grad()
def restore_(groups: Sequence[Sequence[Tensor]], saved: Sequence[Sequence[Tensor]]) -> None:
    for group, values in zip(groups, saved, strict=True):
        for tensor, value in zip(group, values, strict=True):
            tensor.copy_(value)


def relative_errors(before: list[list[Tensor]], plain: list[list[Tensor]], fast: list[list[Tensor]]) -> list[float]:
    """Relative error of a faster step, group by group: ||fast - plain|| / ||plain - before||."""
    return [relative_error(distance(f, p), distance(p, b)) for b, p, f in zip(before, plain, fast, strict=True)]


def relative_error(apart: float, change: float) -> float:
    return apart / change if change else (0.0 if apart == 0 else float("inf"))


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    squares = [(x.double() - y.double()).square().sum() for x, y in zip(a, b, strict=True)]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
