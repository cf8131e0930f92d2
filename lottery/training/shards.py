"""A batch cut into shards, which the ranks of a run share out.

What the shards of a batch give, their gradients, loss and changes of buffers, is added up in a binary tree that does
not depend on how many ranks there are:

    ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))

A rank has neighbouring shards, as many as a power of two, and adds them up by itself; then ranks exchange their sums in
pairs (lottery/ranks.py). So a run with S shards has the same bits on 1, 2, 4, ... S ranks. Batch norm normalises each
shard by its own mean and variance, as under torch's DistributedDataParallel; its running ones change by the mean of the
changes that the shards make, weighted by their examples.

Shapes: b examples in a batch, n in all, N in the training set, R ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from lottery import ranks
from lottery.training.batch_selection import UNSEEN, BatchSelection
from models.python_state import generators_seeded
from utils import InputError, RunError, listed, seed_generators, torch_seed

Backward = Callable[[Tensor, float], Tensor]
RECEIVED = 2**22  # numbers that ranks exchange at a time: a buffer of 16 MiB
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes of an element -> their sum's terms


def cut(b: int, shards: int) -> list[tuple[slice, float]]:
    """The places of each shard in a batch of b examples, as even as can be, and its share of the batch.

    A shard has two examples at least, which batch norm needs. A batch that is too small for that, as the last one of an
    epoch may be, has fewer shards; in the place of those that are missing the first one comes again, with a share of 0.
    """
    filled = max(1, min(shards, b // 2))
    bounds = [b * shard // filled for shard in range(filled + 1)]
    parts = [(slice(begin, end), (end - begin) / b) for begin, end in pairwise(bounds)]
    return parts + [(parts[0][0], 0.0)] * (shards - filled)


def own_shards(shards: int) -> range:
    """Those of this rank, neighbours."""
    own = shards // ranks.count()
    return range(ranks.rank() * own, (ranks.rank() + 1) * own)


def own_places(b: int, shards: int) -> list[slice]:
    """The places in a batch of b examples that this rank looks at: those of its shards, each once, in order."""
    parts = cut(b, shards)
    places = {parts[shard][0].start: parts[shard][0] for shard in own_shards(shards)}
    return [places[start] for start in sorted(places)]


class Shards:
    """Computes the gradients of a batch shard by shard, those of this rank, and adds up those of all.

    What a shard gives is a row of numbers, the gradients of `trained`, the changes of the model's buffers and the loss,
    all times the shard's share of the batch. Rows are fixed buffers, as many as the tree is deep.
    """

    def __init__(self, model: nn.Module, trained: Sequence[nn.Parameter], shards: int, device: torch.device):
        if others := [parameter.dtype for parameter in trained if parameter.dtype != torch.float32]:
            raise InputError(f"--shards {shards} is for networks whose weights are float32, this one has {others[0]}")
        if others := [buffer.dtype for buffer in model.buffers() if buffer.is_complex()]:
            raise InputError(f"--shards {shards} is for networks of real numbers, this one has a buffer of {others[0]}")
        self.model, self.trained, self.count, self.device = model, trained, shards, device
        self.own = own_shards(shards)
        sizes = [tensor.numel() for tensor in (*trained, *model.buffers())]
        self.rows = torch.zeros(len(self.own).bit_length(), sum(sizes) + 1, device=device)
        self.received = self.rows.new_zeros(min(RECEIVED, self.rows.shape[1]) if ranks.count() > 1 else 0)
        self.reached: set[int] = set()  # the places of the parameters that the loss of a shard depends on
        self.used: set[int] = set()  # those that the loss of any shard of the batch depends on
        self.gradients = [self.gradients_in(row[:-1].split(sizes)) for row in self.rows]
        self.changes = [row[:-1].split(sizes)[len(trained) :] for row in self.rows]
        self.draws = False  # whether the network draws random numbers
        self.losses_before: Tensor | None = None  # of examples, in this epoch

    def gradients_in(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Parts of a row as gradients, which lie in memory as their parameters do: fused optimisers ignore strides."""
        pairs = zip(self.trained, parts, strict=False)
        return [part.as_strided(each.shape, each.stride(), part.storage_offset()) for each, part in pairs]

    # --- a step -------------------------------------------------------------------------------------------------------

    def backward(self, visits: Tensor, backward: Backward, position: tuple[int, int]) -> Tensor:
        """Leave the gradients of a batch, int64 (4, b), in the parameters, and change the buffers; the batch's loss.

        `backward`, given visits and their share of a batch, leaves that share of the gradients of their mean loss in
        the parameters and returns that share of the loss. `position` is the epoch's seed and the number of the step,
        which a network draws random numbers by.
        """
        before = [buffer.clone() for buffer in self.model.buffers()]
        self.used.clear()
        self.add_up_(self.own, 0, partial(self.compute_, visits, backward, position, before))
        if ranks.count() > 1:
            for part in self.rows[0].split(RECEIVED):
                ranks.add_up_(part, self.received[: len(part)])
        for buffer, old, change in zip(self.model.buffers(), before, self.changes[0], strict=True):
            buffer.copy_(old.double() + change.view_as(old))
        used = self.used_by_any_rank()
        for place, parameter in enumerate(self.trained):
            parameter.grad = self.gradients[0][place] if place in used else None
        return self.rows[0, -1].clone()

    def add_up_(self, shards: range, row: int, compute_: Callable[[int, int], None]) -> None:
        """Leave the sum of these shards in a row; those below it are overwritten."""
        if len(shards) == 1:
            compute_(shards[0], row)
            return
        half = len(shards) // 2
        self.add_up_(shards[:half], row, compute_)
        self.add_up_(shards[half:], row + 1, compute_)
        self.rows[row] += self.rows[row + 1]

    def compute_(
        self, visits: Tensor, backward: Backward, position: tuple[int, int], before: list[Tensor], shard: int, row: int
    ) -> None:
        """Leave what a shard gives in a row. It begins with the buffers that the batch began with."""
        places, share = cut(visits.shape[1], self.count)[shard]
        for buffer, old in zip(self.model.buffers(), before, strict=True):
            buffer.copy_(old)
        for parameter in self.trained:
            parameter.grad = None
        with self.seeded(torch_seed(*position, shard if share else 0)), self.taking_(row):
            self.rows[row, -1] = backward(visits[:, places], share)
        for place, gradient in enumerate(self.gradients[row]):
            if place not in self.reached:
                gradient.zero_()
        self.used |= self.reached
        for buffer, old, change in zip(self.model.buffers(), before, self.changes[row], strict=True):
            change.copy_(changed(old, buffer, share, first=shard == 0).flatten())

    def used_by_any_rank(self) -> set[int]:
        """Places of the parameters that the loss of the batch depends on: a network may leave out a layer at random,
        in some shards alone."""
        if ranks.count() == 1:
            return self.used
        flags = torch.tensor([place in self.used for place in range(len(self.trained))], dtype=torch.uint8)
        return set(ranks.maximum_(flags).nonzero().flatten().tolist())

    @contextmanager
    def taking_(self, row: int) -> Iterator[None]:
        """Within, each gradient that a backward pass computes is moved into a row at once, so that it is in memory once
        and not twice."""

        def take(place: int, parameter: Tensor) -> None:
            assert parameter.grad is not None
            self.gradients[row][place].copy_(parameter.grad)
            parameter.grad = None
            self.reached.add(place)

        self.reached.clear()
        hooks = [
            parameter.register_post_accumulate_grad_hook(partial(take, place))
            for place, parameter in enumerate(self.trained)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Within, the network draws random numbers by this seed. RuntimeError where that is to be recorded as a CUDA
        graph, which cannot seed anew, and the network has been seen to draw."""
        if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            if self.draws:
                raise RuntimeError(
                    "each shard draws random numbers by a seed of its own, which a recorded step would not set"
                )
            yield
            return
        with generators_seeded(partial(seed_generators, seed)):
            before = generator_state(self.device)
            yield
            self.draws = self.draws or not torch.equal(before, generator_state(self.device))

    # --- an epoch -----------------------------------------------------------------------------------------------------

    def begin_epoch_(self, right: Tensor, selection: BatchSelection | None) -> None:
        """Forget who was right, and the losses of examples, once they have said which are trained on: each rank is to
        fill in those of its own shards."""
        if ranks.count() == 1:
            return
        right.zero_()
        if selection:
            self.losses_before = selection.losses.clone()
            selection.losses.fill_(UNSEEN)

    def end_epoch_(self, right: Tensor, selection: BatchSelection | None, state: Sequence[Tensor]) -> None:
        """Join what the ranks have filled in; RunError unless `state`, what training changes, is the same on all."""
        if ranks.count() == 1:
            return
        right.copy_(ranks.maximum_(right.to(torch.uint8)))
        if selection and self.losses_before is not None:
            losses = ranks.maximum_(selection.losses)
            losses.copy_(torch.where(losses == UNSEEN, self.losses_before, losses))
            self.losses_before = None
        check_same(state)


def check_same(state: Sequence[Tensor]) -> None:
    """RunError, on all ranks, unless all have these tensors alike."""
    if others := ranks.different(checksums(state)):
        who = f"rank {others[0]} has" if len(others) == 1 else f"ranks {listed(others)} have"
        error = RunError(
            f"{who} other weights or masks than rank 0: the ranks do not compute the same, as on different hardware, "
            "with a fault in it, or with a network of your own that is another one on each. What was saved before is "
            "kept, and the same command goes on from there"
        )
        raise ranks.known_to_all(error)


def changed(old: Tensor, new: Tensor, share: float, first: bool) -> Tensor:
    """What a shard adds to the change of a buffer: its share of a difference of numbers, where there is one (infinities
    are equal to themselves); of counts, which all shards change alike, the whole difference, by the first shard."""
    if new.is_floating_point():
        return torch.where(new == old, 0.0, (new - old) * share)
    return (new.double() - old.double()) * float(first)


def generator_state(device: torch.device) -> Tensor:
    """The state of torch's generator for this device, on the CPU."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """int64 (n,): of each tensor the sum of its elements' bits, which another value of one element changes."""
    return torch.stack([each.detach().view(BITS[each.element_size()]).sum(dtype=torch.int64) for each in tensors])


def join_parts(batches: Sequence[Tensor], evaluate: Callable[[Sequence[Tensor]], Sequence[Tensor]]) -> Tensor:
    """What `evaluate` gives for each of the batches, (b,) -> (b, ...), as one tensor, (n, ...).

    Each is evaluated by one rank, so that all ranks have the same bits even if they round differently."""
    if ranks.count() == 1:
        return torch.cat(list(evaluate(batches)))
    own = range(ranks.rank(), len(batches), ranks.count())
    found = list(evaluate([batches[place] for place in own] or batches[:1]))  # for the form of what it gives
    parts = dict(zip(own, found, strict=False))
    form = found[0]
    joined = form.new_zeros(sum(map(len, batches)), *form.shape[1:])
    for place, whole in enumerate(joined.split([len(batch) for batch in batches])):
        if place in parts:
            whole.copy_(parts[place])
    ranks.maximum_(joined.view(torch.uint8))  # every byte is zero but on one rank
    return joined


def build_shards(model: nn.Module, trained: Sequence[nn.Parameter], shards: int, device: torch.device) -> Shards | None:
    """None for one shard, which is a batch as a whole."""
    return Shards(model, trained, shards, device) if shards > 1 else None
