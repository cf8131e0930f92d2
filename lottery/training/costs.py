"""The cost of finding a ticket, compared with vanilla iterative magnitude pruning.

A round's row has `steps` (optimiser steps), `examples` (seen in training), `forward_passes` (extra examples run forward
to build sets) and `seconds`. "Vanilla" is iterative magnitude pruning on the whole training split without early stop:
each round takes `epochs` epochs of ceil(|D0| / batch) steps, or one step fewer per epoch where a last batch of one
example joins the one before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lottery.terminal import counted

BACKWARD = 2  # in forward passes: the gradients of weights and of activations cost one each


@dataclass(frozen=True)
class Vanilla:
    """The reference: one full training on the whole training split."""

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def saved(rounds: Sequence[Mapping], vanilla: Vanilla) -> float:
    """Share of the vanilla steps saved in finding the ticket, as the PrAC paper counts it:

    saved(k) = 1 - (steps of the k trainings) / (k * vanilla steps)

    The k trainings include the dense one, but not the training of the ticket itself.
    """
    return 1 - sum(row["steps"] for row in rounds) / (len(rounds) * vanilla.steps)


def saved_with_training(rounds: Sequence[Mapping], vanilla: Vanilla) -> float:
    """Share saved in finding *and* training the ticket: one more full training on either side."""
    return 1 - (sum(row["steps"] for row in rounds) + vanilla.steps) / ((len(rounds) + 1) * vanilla.steps)


def saved_by(rounds: Sequence[Mapping], vanilla: Vanilla) -> dict[str, float]:
    """`saved` split into parts that add up to it: fewer examples, a shorter schedule, the early stop; and batch
    selection where there is one.

    They are taken in that order: all epochs on fewer examples, then the planned epochs, then the epochs actually run,
    then the steps that these lacked.
    """
    whole = len(rounds) * vanilla.steps
    data = sum(vanilla.epochs * (vanilla.steps_per_epoch - row["steps_per_epoch"]) for row in rounds)
    schedule = sum(vanilla.epochs * row["steps_per_epoch"] - planned_steps(row) for row in rounds)
    left_out = sum(row.get("steps_left_out", 0) for row in rounds)
    stop = sum(planned_steps(row) - row["steps"] for row in rounds) - left_out
    parts = {"data": data, "schedule": schedule, "early stop": stop}
    parts |= {"batch selection": left_out} if any("steps_left_out" in row for row in rounds) else {}
    return {name: steps / whole for name, steps in parts.items()}


def planned_steps(row: Mapping) -> int:
    """Steps of a round without its early stop. Rows of older runs lack them: they started at whole epochs."""
    return row.get("steps_planned", row["epochs_planned"] * row["steps_per_epoch"])


def total(rounds: Sequence[Mapping], what: str) -> float:
    """Sum of a column over the rounds."""
    return sum(row[what] for row in rounds)


def masked_flops(flops: Mapping[str, float], row: Mapping) -> float | None:
    """Zero-aware FLOPs of one example's forward pass under the mask of a round: those of each layer times its density,
    on average (`mean_kept`) where the mask changed while it trained. A mask of coefficients (`nonzero` says how many
    weights they give) saves none: the weights are dense.

    `flops` are those of the dense network by layer (training/flops.py). None if the layers are not recorded.
    """
    if not flops or "layers" not in row:
        return None
    layers = row["layers"]
    kept = row.get("mean_kept") or {
        name: layer["size"] if "nonzero" in layer else layer["kept"] for name, layer in layers.items()
    }
    return sum(count * kept[name] / layers[name]["size"] if name in layers else count for name, count in flops.items())


def training_flops(flops: Mapping[str, float], row: Mapping) -> float | None:
    """Zero-aware FLOPs, forward and backward, over all examples that a round trained on; None if not recorded.

    An example whose gradient was computed for dropped weights, too (`dense_gradient_examples`), takes those of the
    dense network for the gradient of the weights: 2 f_S + f_D, as Evci et al., ICML 2020, count a change of RigL.
    """
    one = masked_flops(flops, row)
    if one is None:
        return None
    more = (sum(flops.values()) - one) * row.get("dense_gradient_examples", 0)
    return (1 + BACKWARD) * one * row["examples"] + more


def sum_or_none(parts: Sequence[float | None]) -> float | None:
    """The sum; None if one of them is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def costs(rounds: Sequence[Mapping], vanilla: Vanilla, flops: Mapping[str, float]) -> dict:
    """Total cost and savings of these rounds, for summary.json; empty if there are none."""
    if not rounds:
        return {}
    sums = {what: total(rounds, what) for what in ("steps", "examples", "forward_passes", "seconds")}
    sums |= {"training_flops": sum_or_none([training_flops(flops, row) for row in rounds])}
    return sums | {
        "saved": saved(rounds, vanilla),
        "saved_with_training": saved_with_training(rounds, vanilla),
        "saved_by": saved_by(rounds, vanilla),
    }


def cost_lines(rounds: Sequence[Mapping], vanilla: Vanilla, flops: Mapping[str, float]) -> list[str]:
    """The log lines on cost after a round: what was spent, and which part of vanilla IMP's steps was saved."""
    cost = costs(rounds, vanilla, flops)
    flops_text = "" if cost["training_flops"] is None else f", {cost['training_flops']:.3g} zero-aware training FLOPs"
    return [
        f"spent so far: {work_text(cost)}{flops_text}, {cost['seconds']:.0f} s",
        saved_line(cost, len(rounds), vanilla),
    ]


def saved_line(cost: Mapping, trainings: int, vanilla: Vanilla) -> str:
    """What the trainings of a search saved against vanilla IMP; the steps they took where they are vanilla IMP's."""
    parts = {name: part for name, part in cost["saved_by"].items() if part}
    if not parts:
        return (
            f"steps to find the ticket: {cost['steps']:,}, as many as vanilla IMP takes; to find and train it: "
            f"{cost['steps'] + vanilla.steps:,}"
        )
    shares = ", ".join(f"{name} {100 * part:.2f} %" for name, part in parts.items())
    return (
        f"saved against vanilla IMP, {counted(vanilla.epochs, 'epoch')} a training: {100 * cost['saved']:.2f} % of its "
        f"{trainings} x {vanilla.steps:,} steps to find the ticket ({shares}), "
        f"{100 * cost['saved_with_training']:.2f} % of {trainings + 1} x {vanilla.steps:,} to find and train it"
    )


def work_text(cost: Mapping) -> str:
    """What was computed, in words; extra forward passes only where there were any."""
    passes = counted(cost["forward_passes"], "extra forward pass", "extra forward passes")
    parts = [counted(cost["steps"], "optimiser step"), counted(cost["examples"], "example")]
    return ", ".join([*parts, passes] if cost["forward_passes"] else parts)
