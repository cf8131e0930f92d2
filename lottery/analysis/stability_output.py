"""The table, the sentences and the figure in which main_stability.py presents its result."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lottery import ranks
from lottery.analysis.stability import STABLE
from lottery.checkpointing.atomic_file import write_atomically
from lottery.terminal import Column, table_lines

MEASURED = ("test_error", "test_loss", "train_error", "train_loss")  # at every point; errors in percent
COLUMNS = {
    "alpha": Column("alpha", ".3f"),
    "test_error": Column("test error", ".2f"),
    "test_loss": Column("test loss", ".4f"),
    "train_error": Column("train error", ".2f"),
    "train_loss": Column("train loss", ".4f"),
}


def points_table(points: Sequence[dict]) -> list[str]:
    """A heading, a line for each point, and what the columns mean."""
    return [
        *table_lines(list(COLUMNS.values()), [[point[name] for name in COLUMNS] for point in points]),
        "errors in percent; train: all training examples, not augmented; alpha 0: copy 1 after its last epoch, "
        "1: copy 2",
    ]


def result_lines(result: dict) -> list[str]:
    """Barriers, verdict and distances in sentences."""
    height, verdict = result["barrier"], "stable" if result["stable"] else "not stable"
    return [
        f"error barrier: {height['test_error']:.2f} points on test data, {height['train_error']:.2f} on training data; "
        f"loss barrier: {height['test_loss']:.4f} and {height['train_loss']:.4f}",
        f"{verdict} to the order of examples: a barrier below {STABLE:g} points of test error counts as stable",
        f"the copies are {result['distance']:.4f} apart (L2), at an angle of {result['angle']:.2f} degrees",
    ]


def figure_title(result: dict, sparsity: float) -> str:
    return f"{100 * sparsity:.2f} % sparse, error barrier {result['barrier']['test_error']:.2f} points"


def draw_line(points: Sequence[dict], path: Path, title: str) -> None:
    """Plot error and loss along the line, as a PNG, on the first rank."""
    if not ranks.is_first():
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
    alphas = [point["alpha"] for point in points]
    for axes, kind, label in zip(panels, ("error", "loss"), ("error (%)", "cross-entropy"), strict=True):
        for data, name, color in (("test", "test", "#D55E00"), ("train", "train, not augmented", "#888888")):
            axes.plot(alphas, [point[f"{data}_{kind}"] for point in points], ".-", color=color, label=name)
        axes.set(xlabel="from copy 1 (0) to copy 2 (1)", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(title)
    write_atomically(path, partial(figure.savefig, dpi=120, format="png"))
    plt.close(figure)
