"""Accuracy curves of a training, as a PNG beside its checkpoint."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lottery import ranks
from lottery.checkpointing.atomic_file import write_atomically

FEW = 20  # epochs whose points are drawn large, since lines between them say little or are not there


def draw_curves(history: Sequence[dict], path: Path, title: str) -> None:
    """Training, validation and test accuracy by epoch, as a PNG, which the first rank draws."""
    if not ranks.is_first():
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    epochs = [row["epoch"] for row in history]
    sizes = {"ms": 6 if len(epochs) < FEW else 3}
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.plot(epochs, [row["train"] for row in history], "o-", **sizes, color="#888888", label="train (augmented)")
    validates = history[-1]["validation"] is not None
    if validates:
        axes.plot(epochs, [row["validation"] for row in history], "o-", **sizes, color="#0072B2", label="validation")
    tested = [row for row in history if row["test"] is not None]
    axes.plot(
        [row["epoch"] for row in tested],
        [row["test"] for row in tested],
        "D",
        **sizes,
        color="#D55E00",
        label="test, at each new best validation" if validates else "test",
    )
    axes.set(xlabel="epoch", ylabel="accuracy (%)", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")  # explicit, or matplotlib warns on slow machines
    write_atomically(path, partial(figure.savefig, dpi=120, format="png"))
    plt.close(figure)
