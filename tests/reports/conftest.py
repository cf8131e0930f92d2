"""Every figure that a test of reports draws is looked at: no axis has an offset, such as 1e10, at its end."""

import pytest

from lottery.reports import style


@pytest.fixture(autouse=True, scope="session")
def offsets_are_refused():
    """Fails where a drawn axis has offset text. For the session, since module fixtures draw, too."""
    draw = style.FORMATS["png"]

    def checked(figure, file):
        draw(figure, file)
        axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
        assert [axis.get_offset_text().get_text() for axis in axes] == [""] * len(axes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.FORMATS, "png", checked)
        yield
