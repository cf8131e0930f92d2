"""The font of figures: matplotlib's DejaVu Sans, with its other alphabets left out.

A PDF file embeds the glyphs that it shows. fontTools picks them from all 6,000 of DejaVu Sans, for each figure anew,
which takes longer than to draw the figure. From a font with a fifth of them it takes little, and text looks the
same. Signs that this one lacks come from DejaVu Sans.
"""

import tempfile
from functools import cache

from fontTools.subset import Options, Subsetter, load_font
from matplotlib import font_manager

NAME, WHOLE = "Report Sans", "DejaVu Sans"
KEPT = (range(0x20, 0x250), range(0x370, 0x400), range(0x2000, 0x2200))  # Latin, Greek, punctuation and signs
NAMES_OF_FAMILY, NAME_IN_POSTSCRIPT = (1, 4, 16), 6  # in the font's table of names


@cache
def font_family() -> list[str]:
    """The names of the fonts to draw with, the smaller one first; it is made and made known when first asked for."""
    options = Options(name_IDs=["*"], notdef_outline=True)
    options.drop_tables += ["FFTM"]  # a time stamp
    font = load_font(font_manager.findfont(WHOLE), options)
    subset = Subsetter(options)
    subset.populate(unicodes=[letter for letters in KEPT for letter in letters])
    subset.subset(font)
    for record in font["name"].names:
        if record.nameID in NAMES_OF_FAMILY:
            record.string = NAME
        elif record.nameID == NAME_IN_POSTSCRIPT:
            record.string = NAME.replace(" ", "")
    _FILES.append(file := tempfile.NamedTemporaryFile(suffix=".ttf"))  # noqa: SIM115  there until the process ends
    font.save(file.name)
    font_manager.fontManager.addfont(file.name)
    return [NAME, WHOLE]


_FILES: list = []
