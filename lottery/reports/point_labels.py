"""Labels beside the points of a figure. All lengths are in points of type, 72 to an inch.

The figure must have been drawn (``figure.canvas.draw()``), so that points have pixel coordinates.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import matplotlib.patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

TEXT_WIDTH, LETTER_WIDTH, TEXT_HEIGHT = 24, 5, 10  # room for a label, for a letter of one
RIGHT, UP = 3, 5  # of a point whose label stands above its right
MARKER = 4  # half the width of a point's marker
CROWDED = 16  # a point so near to another one has a line to its label
# How far to the right of its point, and above it, a label may begin, best first: near, at the right, somewhat higher
# than its point, so that labels of a stack of points form a column in the same order.
OFFSETS = sorted(
    ((right * away, up) for right in (1, -1) for away in (9, 30) for up in range(-40, 41, 2)),
    key=lambda offset: abs(offset[1] - UP) + 2 * abs(offset[0]) + (16 if offset[0] < 0 else 0),
)
SIZE = 8
HALO = (matplotlib.patheffects.withStroke(linewidth=2, foreground="white"),)  # keeps a label apart from lines behind it

Label = tuple[str, tuple[float, float], str]  # text, point in the data's units, colour
Place = tuple[float, float]


class Box(NamedTuple):
    left: float
    right: float
    low: float
    high: float

    def meets(self, other: "Box") -> bool:
        return not (
            self.right <= other.left or other.right <= self.left or self.high <= other.low or other.high <= self.low
        )


def label_some_points(figure: Canvas, axes: Axes, labels: Iterable[Label]) -> None:
    """Write texts in their colours above the right of their points, the first ones first; left out where another text
    is in the way."""
    taken: list[Place] = []
    for text, place, color in labels:
        x, y = axes.transData.transform(place) * 72 / figure.dpi
        if all(abs(x - other) > TEXT_WIDTH or abs(y - above) > TEXT_HEIGHT for other, above in taken):
            taken.append((x, y))
            axes.annotate(text, place, (RIGHT, UP), textcoords="offset points", fontsize=SIZE, color=color)


def label_all_points(figure: Canvas, axes: Axes, labels: Sequence[Label]) -> None:
    """Write each text near its point, from the highest point down, where neither texts nor points are in the way; with
    a line to its point if there are others near."""
    points: list[Place] = [tuple(axes.transData.transform(place) * 72 / figure.dpi) for _, place, _ in labels]
    window = axes.get_window_extent()
    panel = Box(*(end * 72 / figure.dpi for end in (window.x0, window.x1, window.y0, math.inf)))
    taken: list[Box] = []
    for number in sorted(range(len(points)), key=lambda place: points[place][::-1], reverse=True):
        (text, place, color), own = labels[number], points[number]
        others = [point for other, point in enumerate(points) if other != number]
        width = LETTER_WIDTH * (len(text) + 1)  # with a space, so that two do not read as one
        offset = next(free_offsets(own, width, others, taken, panel), (RIGHT, UP))
        taken.append(box_at(own, offset, width))
        line = math.hypot(*offset) > CROWDED or any(math.dist(own, other) < CROWDED for other in others)
        axes.annotate(
            text, place, offset, textcoords="offset points", fontsize=SIZE, color=color, path_effects=HALO,
            ha="left" if offset[0] > 0 else "right", va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.6, "color": "0.3", "shrinkA": 0, "shrinkB": 1} if line else None,
        )  # fmt: skip


def free_offsets(
    own: Place, width: float, others: Sequence[Place], taken: Sequence[Box], panel: Box
) -> Iterator[Place]:
    """Where a text may stand beside its point, nearest first: within the panel, on no other text or point, with no
    other point on the way."""
    markers = [Box(x - MARKER, x + MARKER, y - MARKER, y + MARKER) for x, y in (own, *others)]
    for offset in OFFSETS:
        box, end = box_at(own, offset, width), (own[0] + offset[0], own[1] + offset[1])
        is_within = panel.left <= box.left and box.right <= panel.right and box.low >= panel.low
        is_free = not any(map(box.meets, (*markers, *taken)))
        if is_within and is_free and not any(is_on_the_way(other, own, end) for other in others):
            yield offset


def box_at(point: Place, offset: Place, width: float) -> Box:
    """Where a text of this width stands."""
    x, y = point[0] + offset[0], point[1] + offset[1]
    left = x if offset[0] > 0 else x - width
    return Box(left, left + width, y - TEXT_HEIGHT / 2, y + TEXT_HEIGHT / 2)


def is_on_the_way(point: Place, start: Place, end: Place) -> bool:
    """Whether a line from one place to another touches the marker of this point; of one that overlaps with that of the
    start, whether the line leads across it."""
    length = math.dist(start, end)
    along = ((point[0] - start[0]) * (end[0] - start[0]) + (point[1] - start[1]) * (end[1] - start[1])) / length**2
    share = min(max(along, 0.0), 1.0)
    nearest = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
    return math.dist(point, nearest) < min(MARKER, 0.9 * math.dist(point, start))
