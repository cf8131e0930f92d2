"""The picture of the line between two copies."""

from matplotlib.figure import Figure
from PIL import Image

from lottery.analysis.stability_output import MEASURED, draw_line


def test_the_line_is_drawn(quick_pictures, monkeypatch, tmp_path):
    monkeypatch.setattr(Figure, "savefig", quick_pictures)
    points = [{"alpha": alpha, **dict.fromkeys(MEASURED, 1 + alpha)} for alpha in (0.0, 0.5, 1.0)]
    draw_line(points, tmp_path / "stability.png", "title")
    with Image.open(tmp_path / "stability.png") as picture:
        assert picture.width == 1008 and len(picture.convert("RGB").getcolors(1 << 20)) > 5
