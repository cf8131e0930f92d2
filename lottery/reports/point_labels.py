"""Labels beside the points of a figure. All lengths are in points of type, 72 to an inch.

The figure must have been drawn (``figure.canvas.draw()``), so that points have pixel coordinates.
"""

from collections.abc import Iterable, Sequence

import matplotlib.patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

TEXT_WIDTH, LETTER_WIDTH, TEXT_HEIGHT = 24, 5, 10  # room for a label, for a letter of one
RIGHT, UP = 3, 5  # of a point whose label stands above its right
NEAR, BESIDE = 8, 10  # points so near in x are a stack, and the labels of a stack so far from them
SIZE = 8
HALO = (matplotlib.patheffects.withStroke(linewidth=2, foreground="white"),)  # keeps a label apart from lines behind it

Label = tuple[str, tuple[float, float], str]  # text, point in the data's units, colour


def label_some_points(figure: Canvas, axes: Axes, labels: Iterable[Label]) -> None:
    """Write texts in their colours above the right of their points, the first ones first; left out where another text
    is in the way."""
    taken: list[tuple[float, float]] = []
    for text, place, color in labels:
        x, y = axes.transData.transform(place) * 72 / figure.dpi
        if all(abs(x - other) > TEXT_WIDTH or abs(y - above) > TEXT_HEIGHT for other, above in taken):
            taken.append((x, y))
            axes.annotate(text, place, (RIGHT, UP), textcoords="offset points", fontsize=SIZE, color=color)


def label_all_points(figure: Canvas, axes: Axes, labels: Iterable[Label]) -> None:
    """Write each text beside its point. Those of points that stand above each other form a column in the same order,
    each with a line to its point; left of the points where the panel ends at their right."""
    found = [(text, place, color, *axes.transData.transform(place) * 72 / figure.dpi) for text, place, color in labels]
    end = axes.get_window_extent().x1 * 72 / figure.dpi
    for stack in stacks([x for *_, x, _ in found]):
        own = sorted((found[i] for i in stack), key=lambda label: label[-1])
        alone, first, last = len(own) == 1, min(x for *_, x, _ in own), max(x for *_, x, _ in own)
        width = (RIGHT if alone else BESIDE) + LETTER_WIDTH * max(len(text) for text, *_ in own)
        leftwards = last + width > end
        column = first - BESIDE if leftwards else last + BESIDE
        # Somewhat higher than their points, at whose height the frontier goes on.
        heights = apart([y + UP for *_, y in own], TEXT_HEIGHT)
        for (text, place, color, x, y), height in zip(own, heights, strict=True):
            right, up = ((-RIGHT if leftwards else RIGHT), UP) if alone else (column - x, height - y)
            axes.annotate(
                text, place, (right, up), textcoords="offset points", fontsize=SIZE, color=color, path_effects=HALO,
                ha="right" if leftwards else "left", va="baseline" if alone else "center",
                arrowprops=None if alone else {"arrowstyle": "-", "lw": 0.6, "color": "0.4", "shrinkA": 0},
            )  # fmt: skip


def stacks(xs: Sequence[float]) -> list[list[int]]:
    """The places of those that are `NEAR` in x to the one before, from left to right."""
    found: list[list[int]] = []
    for place in sorted(range(len(xs)), key=xs.__getitem__):
        if found and xs[place] - xs[found[-1][-1]] < NEAR:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """The rising heights that are at least `gap` apart and, in the sum of squares, nearest to these rising ones.

    Isotonic regression of heights less their places times `gap`: neighbours that would fall are pooled at their mean.
    """
    pools: list[tuple[float, int]] = []
    for place, height in enumerate(heights):
        mean, count = height - place * gap, 1
        while pools and pools[-1][0] > mean:
            before, more = pools.pop()
            mean, count = (before * more + mean * count) / (more + count), more + count
        pools.append((mean, count))
    level = (mean for mean, count in pools for _ in range(count))
    return [mean + place * gap for place, mean in enumerate(level)]
