"""The accuracy curves: a single epoch is seen, at its number."""

import matplotlib.pyplot as plt
import pytest

from lottery.training.plots import draw_curves


@pytest.mark.parametrize("epochs, least, most", [(1, 5, 7), (2, 5, 7), (100, 2, 4)])
def test_every_epoch_is_a_point_within_the_figure(tmp_path, monkeypatch, epochs, least, most):
    closed = []
    monkeypatch.setattr(plt, "close", closed.append)
    history = [{"epoch": 5 + epoch, "train": 10.0, "validation": 20.0, "test": 30.0} for epoch in range(epochs)]
    draw_curves(history, tmp_path / "a.png", "title")
    (axes,) = closed[0].axes
    monkeypatch.undo()
    plt.close(closed[0])
    low, high = axes.get_xlim()
    assert low < 5 <= 4 + epochs < high and high - low <= epochs
    assert all(line.get_marker() != "None" and least <= line.get_markersize() <= most for line in axes.lines)
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert shown and all(float(tick).is_integer() for tick in shown)
