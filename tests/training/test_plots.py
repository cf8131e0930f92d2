"""The picture of a training's accuracies."""

import pytest
from matplotlib.figure import Figure
from PIL import Image

from lottery.training.plots import draw_curves

ROWS = [{"epoch": k, "train": 50.0 + k, "validation": 40.0 + k, "test": None if k == 1 else 45.0} for k in range(3)]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [row | {"validation": None} for row in ROWS]])
def test_curves_are_drawn_with_and_without_validation(quick_pictures, monkeypatch, tmp_path, rows):
    monkeypatch.setattr(Figure, "savefig", quick_pictures)
    draw_curves(rows, tmp_path / "curves.png", "title")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (768, 480) and len(picture.convert("RGB").getcolors(1 << 20)) > 5
