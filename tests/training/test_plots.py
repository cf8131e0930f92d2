"""The accuracy curves: a single epoch is seen, at its number."""

import matplotlib.pyplot as plt
import pytest

from lottery.training.plots import draw_curves


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws the curves of a history; gives their axes."""
    closed = []
    monkeypatch.setattr(plt, "close", closed.append)

    def draw(history):
        draw_curves(history, tmp_path / "a.png", "title")
        (axes,) = closed[0].axes
        return axes

    yield draw
    monkeypatch.undo()
    plt.close(closed[0])


@pytest.mark.parametrize("epochs, least, most", [(1, 5, 7), (2, 5, 7), (100, 2, 4)])
def test_every_epoch_is_a_point_within_the_figure(drawn, epochs, least, most):
    axes = drawn([{"epoch": 5 + epoch, "train": 10.0, "validation": 20.0, "test": 30.0} for epoch in range(epochs)])
    low, high = axes.get_xlim()
    assert low < 5 <= 4 + epochs < high and high - low <= epochs
    assert all(line.get_marker() != "None" and least <= line.get_markersize() <= most for line in axes.lines)
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert shown and all(float(tick).is_integer() for tick in shown)


@pytest.mark.parametrize("validation, curves", [(20.0, 3), (None, 2)])
def test_what_was_not_measured_is_not_drawn(drawn, validation, curves):
    tests = [30.0, None, 32.0]
    axes = drawn([{"epoch": k, "train": 10.0, "validation": validation, "test": test} for k, test in enumerate(tests)])
    assert len(axes.lines) == curves and axes.lines[-1].get_xydata().tolist() == [[0, 30], [2, 32]]
