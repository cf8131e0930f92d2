"""Labels beside points: which are written, where, and that each stands with its own point."""

import pytest
from matplotlib.figure import Figure

from lottery.reports.point_labels import RIGHT, TEXT_HEIGHT, UP, apart, label_all_points, label_some_points, stacks

STACK = [("1", (0.5, 0.52), "black"), ("2", (0.5, 0.5), "black"), ("3", (0.51, 0.51), "black")]


def drawn(label, labels):
    figure = Figure(figsize=(5, 4), dpi=100)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.canvas.draw()
    label(figure, axes, labels)
    return axes


def test_of_points_in_each_others_way_the_first_is_labelled():
    texts = drawn(label_some_points, [*STACK, ("4", (0.1, 0.1), "red")]).texts
    assert [(text.get_text(), text.get_color()) for text in texts] == [("1", "black"), ("4", "red")]


def test_labels_of_a_stack_stand_in_the_order_of_its_points_with_a_line_to_each():
    texts = drawn(label_all_points, STACK).texts
    by_height = sorted(texts, key=lambda text: text.xy[1] * 288 * 0.77 + text.get_position()[1])
    assert [text.get_text() for text in by_height] == ["2", "3", "1"]
    assert all(text.arrow_patch for text in texts)
    assert all(text.get_ha() == "left" and text.get_position()[0] > 0 for text in texts)


def test_a_point_alone_has_its_label_above_its_right_and_no_line():
    (text,) = drawn(label_all_points, STACK[:1]).texts
    assert text.get_position() == (RIGHT, UP)
    assert text.arrow_patch is None


def test_labels_stand_left_of_points_at_the_end_of_the_panel():
    texts = drawn(label_all_points, [("1: 23.4 %", (0.99, 0.5), "black"), ("2: 12.3 %", (0.99, 0.5), "black")]).texts
    assert all(text.get_ha() == "right" and text.get_position()[0] < 0 for text in texts)


def test_stacks_go_from_left_to_right():
    assert stacks([100, 0, 5, 200, 107, 114]) == [[1, 2], [0, 4, 5], [3]]


def test_heights_move_as_little_as_they_must():
    assert apart([0, 30, 100], TEXT_HEIGHT) == [0, 30, 100]
    assert apart([50, 50], TEXT_HEIGHT) == [45, 55]
    assert apart([0, 1, 2, 50], TEXT_HEIGHT) == pytest.approx([-9, 1, 11, 50])
    assert apart([0, 18, 19], TEXT_HEIGHT) == pytest.approx([0, 13.5, 23.5])
    assert apart([], TEXT_HEIGHT) == []
