"""Labels beside points: which are written, where, and that each stands with its own point."""

import itertools
import math

from matplotlib.figure import Figure

from lottery.reports.point_labels import (
    CROWDED,
    LETTER_WIDTH,
    Box,
    box_at,
    is_on_the_way,
    label_all_points,
    label_some_points,
)

STACK = [("1", (0.5, 0.52), "black"), ("2", (0.5, 0.5), "black"), ("3", (0.51, 0.51), "black")]


def drawn(label, labels):
    """The axes, of 72 pixels to an inch: those are points of type."""
    figure = Figure(figsize=(5, 4), dpi=72)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.canvas.draw()
    label(figure, axes, labels)
    return axes


def texts_and_points(axes):
    """By text its box, and the place of its point."""
    found = {}
    for text in axes.texts:
        point = tuple(axes.transData.transform(text.xy))
        found[text.get_text()] = box_at(point, text.get_position(), LETTER_WIDTH * len(text.get_text())), point
    return found


def test_of_points_in_each_others_way_the_first_is_labelled():
    texts = drawn(label_some_points, [*STACK, ("4", (0.1, 0.1), "red")]).texts
    assert [(text.get_text(), text.get_color()) for text in texts] == [("1", "black"), ("4", "red")]


def test_all_labels_of_a_crowd_are_apart_and_have_a_line_to_their_point():
    crowd = [(str(n), (0.5 + 0.01 * (n % 2), 0.5 + 0.01 * n), "black") for n in range(8)]
    axes = drawn(label_all_points, crowd)
    found = texts_and_points(axes)
    assert found.keys() == {text for text, _, _ in crowd}
    for (one, _), (other, _) in itertools.combinations(found.values(), 2):
        assert not one.meets(other)
    for box, _ in found.values():
        assert not any(box.meets(Box(x - 3, x + 3, y - 3, y + 3)) for _, (x, y) in found.values())
    assert all(text.arrow_patch for text in axes.texts)


def test_a_point_alone_has_its_label_above_its_right_and_no_line():
    (text,) = drawn(label_all_points, STACK[:1]).texts
    right, up = text.get_position()
    assert right > 0 and up > 0 and math.hypot(right, up) < CROWDED
    assert text.arrow_patch is None


def test_labels_stay_within_the_panel():
    axes = drawn(label_all_points, [("1: 23.4 %", (0.99, 0.005), "black"), ("2: 12.3 %", (0.99, 0.005), "black")])
    panel = axes.get_window_extent()
    for box, _ in texts_and_points(axes).values():
        assert box.right <= panel.x1 and box.low >= panel.y0


def test_a_line_does_not_lead_across_another_point():
    assert is_on_the_way((10, 1), (0, 0), (20, 0))
    assert not is_on_the_way((10, 8), (0, 0), (20, 0))
    assert not is_on_the_way((30, 0), (0, 0), (20, 0))
    assert is_on_the_way((2, 2), (0, 0), (14, 14)), "a point that overlaps with its own"
    assert not is_on_the_way((2, 2), (0, 0), (-14, -14))
