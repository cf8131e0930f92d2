"""The font of figures draws what DejaVu Sans does, and lacks no sign."""

import io
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lottery.reports.fonts import KEPT, NAME, WHOLE, font_family


def drawn(text, family):
    """A picture of the text in fonts of these names, and the warnings that came with it."""
    with matplotlib.rc_context({"font.family": family}), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure = Figure(figsize=(4, 1))
        figure.text(0.05, 0.5, text)
        file = io.BytesIO()
        FigureCanvasAgg(figure).print_png(file)
    return file.getvalue(), [str(warning.message) for warning in told]


@pytest.mark.parametrize(
    "text", ["AVATAR Tofu: 12.5 % × 10⁹ – “α” ± 2", "Ж: from the whole font", "×10¹² … Größe", "filters, office, flow"]
)
def test_text_looks_as_in_the_whole_font(text):
    assert font_family() == [NAME, WHOLE]
    assert drawn(text, font_family()) == drawn(text, [WHOLE])


def test_text_that_differs_is_told_apart():
    assert drawn("a", [WHOLE])[0] != drawn("b", [WHOLE])[0] and len(np.concatenate(KEPT)) < 1500
