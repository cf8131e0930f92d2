"""Faster ways to run the optimiser step, each checked against the plain one before it is trusted.

A step launches hundreds of small kernels; on a GPU the launching takes longer than the work. A CUDA graph launches all
of them at once. It replays what it has recorded, at the same addresses: whatever changes is written into buffers.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from models.custom import UserNetwork
from models.network_state import Surroundings, generators_kept, surroundings, surroundings_kept
from models.probe import in_short
from utils import listed

Update = Callable[[Tensor], None]

# How far the change that a faster step makes may lie from the plain one's, relative to the change itself. A step that
# leaves something out differs by about 1. Rounding is small in what the forward pass gives (loss, batch norm); in the
# gradients it is magnified where it carries an activation over the edge of a ReLU: 0.3 % for res20s, 2.6 % for
# vgg16_bn between two ways to compute fp32, 5 and 34 % in bfloat16.
FORWARD = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}
BACKWARD = {"fp32": 0.1, "tf32": 0.2, "bf16": 0.6}
RIGHT = 0.7  # of an untrained network's guesses many are close to ties
SIZES = 2  # of batches that are kept ready: the full one and a round's last


class PlainStep(Protocol):
    """What is made faster: a step with its state."""

    model: nn.Module
    device: torch.device
    precision: str
    parameters: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    loss_sum: Tensor
    right: Tensor

    def update(self, visits: Tensor, network: Callable[[Tensor], Tensor]) -> None: ...

    def momentum(self) -> list[Tensor]: ...


class Way(NamedTuple):
    """A way to run the step: "plain", "compiled", "graph" or "compiled graph"."""

    name: str
    update: Update


SLOWER = {  # way -> what the log says of it where a faster one is not used
    "plain": "every operation runs on its own",
    "graph": "the step is one CUDA graph all the same, of the network as it is",
}


class FastStep:
    """Runs a step in the fastest way that does what the plain step does, and says once where that is a slower one.

    The first batch of each size is run both ways from the same state. A faster way that cannot be made, fails, or
    differs by more than rounding is not tried again; the next one is.
    """

    def __init__(self, step: PlainStep, batch_size: int, compile: str, log: Callable[[str], object]):
        self.step, self.batch_size, self.log = step, batch_size, log
        self.captures = compile != "off" and step.device.type == "cuda"
        self.compiled = torch.compile(step.model, dynamic=False) if compile == "on" else None
        self.ways: dict[int, Way] = {}  # by examples in a batch, the one used last at the end
        self.failed: dict[str, str] = {}  # ways that are not used -> why
        self.may_change = isinstance(step.model, UserNetwork)
        self.recorded: Surroundings | None = None  # of the network when a way was chosen

    def __call__(self, visits: Tensor) -> None:
        size = visits.shape[1]
        way = self.ways.pop(size, None) or self.choose(visits)
        self.ways[size] = way
        while len(self.ways) > SIZES:
            del self.ways[next(iter(self.ways))]  # frees an old graph
        way.update(visits)

    @property
    def used(self) -> str | None:
        """The way that full batches run, or the last ones where there is no full one; None before the first step."""
        way = self.ways.get(self.batch_size) or next(reversed(self.ways.values()), None)
        return way and way.name

    @property
    def fallback(self) -> str | None:
        """Why faster ways than those in use are not used; None if none has failed."""
        return "; ".join(dict.fromkeys(self.failed.values())) or None

    def forget(self) -> None:
        """The step has other buffers than before: what was recorded is of no use."""
        self.ways.clear()

    def begin_epoch(self) -> None:
        """What was recorded is of no use, either, if a user's network is another one than it was then: one whose
        `train` changes a number, for example."""
        recorded = any(way.name != "plain" for way in self.ways.values())
        if recorded and self.may_change and self.recorded.differs(surroundings(self.step.model)):
            self.forget()

    def choose(self, visits: Tensor) -> Way:
        """The fastest way for batches of this size; the step's state stays as it is."""
        plain, known = partial(self.step.update, network=self.step.model), len(self.failed)
        self.recorded = surroundings(self.step.model)
        for name in self.faster(visits.shape[1]):
            if way := self.tried(name, plain, visits):
                break
        else:
            way = Way("plain", plain)
        if reasons := dict.fromkeys(list(self.failed.values())[known:]):
            self.log(f"note: the faster step is not used ({'; '.join(reasons)}); {SLOWER[way.name]}")
        return way

    def faster(self, size: int) -> list[str]:
        """The faster ways for batches of this size, the fastest first, but for those that have failed."""
        compiles = self.compiled is not None and size == self.batch_size
        found = ["compiled graph" if self.captures else "compiled"] if compiles else []
        found += ["graph"] if self.captures else []
        return [name for name in found if name not in self.failed]

    def tried(self, name: str, plain: Update, visits: Tensor) -> Way | None:
        """This way, if it does what `plain` does."""
        fast = partial(self.step.update, network=self.compiled) if name.startswith("compiled") else plain
        try:
            return Way(name, self.checked(plain, fast, visits))
        except Exception as error:  # compilers, drivers and users' networks raise many kinds
            self.failed[name] = in_short(error)
            return None

    @property
    def pool(self) -> tuple[int, int] | None:
        """The memory of the graphs that are ready, for one more; None, for memory of its own, if there are none.

        torch lets no graph into a pool that all others have left.
        """
        graphs = (way.update for way in self.ways.values() if isinstance(way.update, Captured))
        return next((graph.pool for graph in graphs), None)

    def checked(self, plain: Update, fast: Update, visits: Tensor) -> Update:
        """`fast`, captured if that is wanted; RuntimeError if it differs from `plain`."""
        before, devices = copies(self.state()), [self.step.device] if self.captures else []
        try:
            with generators_kept(devices), surroundings_kept(self.step.model):
                after_plain = self.after(plain, visits, before)
                self.check_surroundings()
                if self.captures:
                    fast = Captured(fast, visits, self.pool, self.step.optimizer.zero_grad)
                apart = differences(before, after_plain, self.after(fast, visits, before))
        finally:
            restore_(self.state(), before)
            if self.captures:
                torch.cuda.empty_cache()  # what the plain step needed and the graph does not
        if not all(part <= allowed for part, allowed in zip(apart, self.allowed, strict=True)):  # NaN is not <=
            told = ", ".join(f"{part:.2g}" for part in apart)
            raise RuntimeError(f"its result differs from the plain step's, by {told} of the change")
        return fast

    def check_surroundings(self) -> None:
        """RuntimeError if the plain step has just changed more of the network than values of its tensors: a recording
        would repeat what it was at that time."""
        if changed := self.recorded.changed(surroundings(self.step.model)):
            raise RuntimeError(f"each step changes {listed(changed)}, which a recorded one would not")

    @property
    def allowed(self) -> list[float]:
        """How far apart each group of the state may be."""
        forward, backward = FORWARD[self.step.precision], BACKWARD[self.step.precision]
        return [backward, backward, forward, forward, RIGHT]

    def after(self, update: Update, visits: Tensor, before: list[list[Tensor]]) -> list[list[Tensor]]:
        """The state after one update from `before`, with momentum at rest and chance as it always is."""
        restore_(self.state(), before)
        for momentum in self.step.momentum():
            momentum.zero_()
        torch.manual_seed(0)
        update(visits)
        return copies(self.state())

    def state(self) -> list[list[Tensor]]:
        """All that a step changes, in groups of a kind."""
        step = self.step
        return [
            list(step.parameters.values()),
            step.momentum(),
            list(step.model.buffers()),
            [step.loss_sum],
            [step.right],
        ]


class Captured:
    """An update recorded as a CUDA graph for batches of one size, and replayed.

    Graphs of one `pool` share memory: they run one after another, and nothing in it outlives a replay. With None the
    graph has a pool of its own, which others can share.
    """

    def __init__(
        self, update: Update, visits: Tensor, pool: tuple[int, int] | None, drop_gradients: Callable[[], None]
    ):
        self.visits = visits.clone()
        stream = torch.cuda.current_stream()
        warm_up(partial(update, self.visits), stream)
        drop_gradients()  # those of the recording lie in its own memory
        self.graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self.graph, pool=pool):
                update(self.visits)
        finally:
            torch.cuda.set_stream(stream)  # torch stays on its own where a recording fails
        self.pool = self.graph.pool()

    def __call__(self, visits: Tensor) -> None:
        self.visits.copy_(visits)
        self.graph.replay()


def warm_up(run: Callable[[], object], stream: torch.cuda.Stream) -> None:
    """Run what is to be recorded, beside `stream`: libraries set themselves up on first use, which cannot be recorded.

    The last time a wait for the device raises: within a recording it would leave the process damaged.
    """
    beside = torch.cuda.Stream()
    beside.wait_stream(stream)
    with torch.cuda.stream(beside):
        run()
        run()
        with waits_raise():
            run()
    stream.wait_stream(beside)


@contextmanager
def waits_raise() -> Iterator[None]:
    """Waiting for the device is an error, as far as torch sees it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch does not see every wait
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def copies(groups: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    return [[tensor.detach().clone() for tensor in group] for group in groups]


@torch.no_grad()
def restore_(groups: Sequence[Sequence[Tensor]], saved: Sequence[Sequence[Tensor]]) -> None:
    for group, values in zip(groups, saved, strict=True):
        for tensor, value in zip(group, values, strict=True):
            tensor.copy_(value)


def differences(before: list[list[Tensor]], plain: list[list[Tensor]], fast: list[list[Tensor]]) -> list[float]:
    """How far two results of a step are apart, group by group: ||fast - plain|| / ||plain - before||."""
    return [relative(norm(f, p), norm(p, b)) for b, p, f in zip(before, plain, fast, strict=True)]


def relative(apart: float, change: float) -> float:
    return apart / change if change else (0.0 if apart == 0 else float("inf"))


def norm(a: list[Tensor], b: list[Tensor]) -> float:
    squares = [(x.double() - y.double()).square().sum() for x, y in zip(a, b, strict=True)]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
