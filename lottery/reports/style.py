"""The style of figures: fonts, colours that remain distinct in greyscale and for the colour-blind, axes, legends."""

import io
import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure as Canvas
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from lottery.reports import drawing
from lottery.reports.document import Figure, Files
from lottery.reports.fonts import font_family

WIDTH = 7.0  # inches
COLUMN_WIDTH = 5.0  # inches, of a figure that stands beside another, or in a column of a paper
LEGEND_WIDTH, SYMBOL_WIDTH = 96, 8  # in letters: of a legend as wide as WIDTH; of the symbol and space beside a label
DPI = 200  # of PNG files
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
LEGEND_LINE = 0.18  # inches
SAME_LABEL = 0.01  # log ratio of densities that share a label
SETTINGS = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.hashsalt": "report",
    "text.parse_math": False,  # names of runs and classes may have dollar signs
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
}
FORMATS: dict[str, Callable[[Canvas, io.BytesIO], None]] = {  # how a figure is written; without the date and version
    "png": lambda figure, file: FigureCanvasAgg(figure).print_png(
        file, metadata={"Software": None}, pil_kwargs={"compress_level": 3}
    ),
    "svg": lambda figure, file: FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None}),
    "pdf": lambda figure, file: FigureCanvasPdf(figure).print_pdf(file, metadata={"CreationDate": None}),
}
# The palette of Okabe and Ito, in an order in which neighbours differ in lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#56B4E9", "#000000", "#E69F00", "#CC79A7", "#666666")
MARKERS = "os^Dv<>P"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1)), (0, (1, 1)))


class LineStyle(NamedTuple):
    color: str
    marker: str
    linestyle: object


def line_style(number: int) -> LineStyle:
    """The colour, marker and line of the method with this number; from the ninth on new combinations of them."""
    again = number // len(COLOURS)
    return LineStyle(
        COLOURS[number % len(COLOURS)],
        MARKERS[(number + again) % len(MARKERS)],
        LINES[(number + 3 * again) % len(LINES)],
    )


def canvas(
    rows: int = 1, columns: int = 1, height: float = 4.0, width: float = WIDTH, **more
) -> tuple[Canvas, list[Axes]]:
    """A figure, of the report's width if no other is given, and its axes in reading order."""
    plt.rcParams.update(matplotlib.rcParamsDefault | SETTINGS | {"backend": "Agg", "font.family": font_family()})
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **more)
    for axis in (axis for each in axes.flat for axis in (each.xaxis, each.yaxis)):
        axis.set_major_formatter(NumberFormatter())
    return figure, list(axes.flat)


def render(figure: Canvas, name: str, caption: str) -> Figure:
    """The figure as PNG, SVG and PDF; it is closed."""
    drawn = drawing.drawn(partial(draw, figure))
    plt.close(figure)
    return Figure(name, caption, drawn)


def draw(figure: Canvas) -> Files:
    """Drawn once for each format, and laid out for the first: `savefig` would draw it twice as often."""
    figure.set_dpi(DPI)
    files = {}
    for kind, write in FORMATS.items():
        file = io.BytesIO()
        write(figure, file)
        figure.set_layout_engine("none")
        figure.set_dpi(DPI)  # vector formats set their own
        files[kind] = file.getvalue()
    return Files(**files)


def wrapped(label: str, letters: int) -> str:
    """A label on lines of at most so many letters: names of methods say in what their settings differ, which may be
    more than fits into one."""
    return label if len(label) <= letters else textwrap.fill(label, letters, break_on_hyphens=False)


def legend_below(figure: Canvas, axes: Axes, columns: int = 3) -> None:
    """A legend of these axes' labels below the figure, in as many of these columns as fit. The figure becomes as much
    higher as a legend of more than two lines needs."""
    pairs = zip(*axes.get_legend_handles_labels(), strict=True)
    handles, names = zip(*sorted(pairs, key=lambda pair: not isinstance(pair[0], ErrorbarContainer)), strict=True)
    room = int(LEGEND_WIDTH * figure.get_figwidth() / WIDTH)
    labels = [wrapped(name, room - SYMBOL_WIDTH) for name in names]
    widest = max((len(line) for label in labels for line in label.splitlines()), default=0)
    columns = max(1, min(columns, len(labels), room // (widest + SYMBOL_WIDTH)))
    rows = -(-len(labels) // columns)
    lines = sum(max(label.count("\n") + 1 for label in labels[row::rows]) for row in range(rows))
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * max(0, lines - 2))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.8, columnspacing=1.2)


# --- numbers on axes --------------------------------------------------------------------------------------------------


class NumberFormatter(ScalarFormatter):
    """Tick labels of any axis that holds numbers, whole in themselves: no factor or offset stands at the axis' end.

    From 10,000 up in thousands (25k) or millions (2.5M), from 1e9 up by powers of a thousand (25 × 10⁹): all ticks of
    an axis in the unit of its largest, but those that are smaller than that unit. In full where they would be equal.
    """

    def __init__(self) -> None:
        super().__init__(useOffset=False)
        self.set_scientific(False)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        largest = max(map(abs, values), default=0)
        if largest < 1000:
            is_linear = self.axis.get_scale() == "linear"
            return super().format_ticks(values) if is_linear else [f"{value:g}" for value in values]
        labels = [scaled(value, largest) for value in values]
        return labels if len(set(labels)) == len(values) else [f"{value:,.12g}" for value in values]


def scaled(value: float, largest: float) -> str:
    """A number as a tick label beside a largest one: ``2.5k`` beside 25,000, but ``2,500`` beside 7,500."""
    power = 3 * int(math.log10(largest) // 3) if largest >= 10_000 else 0
    is_small = abs(value) < 10**power
    if not power or not value or (is_small and power < 9):
        return f"{value:,.6g}"
    unit = {3: "k", 6: "M"}.get(power, f" × 10{str(power).translate(SUPERSCRIPTS)}")
    return f"{value / 10**power:g}{unit}"


def log_axis(axis: Axis, subs: Sequence[int] = (1, 2, 5)) -> None:
    """Ticks at these multiples of the powers of ten, on an axis with a log scale."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(NumberFormatter())


# --- heat maps --------------------------------------------------------------------------------------------------------


def label_cells(image: AxesImage, text: Callable[[float], str], size: float = 8) -> None:
    """Write its number into each cell of a heat map, black or white by the cell's shade. A cell without one (NaN) stays
    empty."""
    values = image.get_array()
    colours = image.to_rgba(values)
    for (row, column), value in np.ndenumerate(np.ma.filled(values.astype(float), math.nan)):
        if value == value:
            shade = text_colour(colours[row, column])
            label = image.axes.text(column, row, text(value), ha="center", va="center", fontsize=size, color=shade)
            label.set_in_layout(False)  # it lies within the axes: measuring hundreds of them takes long


def text_colour(background: Sequence[float]) -> str:
    """Black or white, whichever has the higher contrast with an RGB colour in [0, 1].

    By the relative luminance of WCAG 2, 0.2126 R + 0.7152 G + 0.0722 B of linear RGB: their contrasts are equal where
    (luminance + 0.05)² = 0.05 * 1.05.
    """
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in background[:3]]
    luminance = sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


def shortened(name: str, letters: int = 32) -> str:
    """A name of at most so many letters, its middle left out: the ends of names of runs and layers tell most."""
    half = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[:half]}…{name[-half:]}"


# --- axes -------------------------------------------------------------------------------------------------------------


def density_axis(axes: Axes, densities: Iterable[float], labels: int = 9, factors: Sequence[float] = (1.0,)) -> None:
    """Remaining weights in percent on a log scale, dense at the left, with ticks at some of the densities.

    The limits leave room for points that were moved by the factors of `dodge`.
    """
    levels = sorted(set(densities), reverse=True)
    left, right = max([1.0, *levels]), min(levels, default=1.0)
    span = max(math.log(left / right), math.log(1.25))
    axes.set_xscale("log")
    first = max(left * math.exp(0.03 * span), left * max(factors) * math.exp(0.02 * span))
    last = min(left * math.exp(-1.04 * span), right * min(factors) * math.exp(-0.02 * span))
    axes.set_xlim(first, last)
    axes.xaxis.set_major_locator(FixedLocator(spaced(levels, span / labels)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda density, _: percent(density)))
    axes.set_xlabel("remaining weights (%)")


def spaced(levels: Sequence[float], least: float) -> list[float]:
    """Every n-th of these falling levels, with the least n at which their logarithms are `least` apart. Levels that
    would share a label count once."""
    levels = [level for i, level in enumerate(levels) if not i or math.log(levels[i - 1] / level) > SAME_LABEL]
    step = 1
    while step < len(levels) and any(
        math.log(a / b) < least for a, b in zip(levels[::step], levels[step::step], strict=False)
    ):
        step += 1
    return list(levels[::step])


def points(number: float) -> str:
    """A number of points of accuracy: "1 point", "0.5 points"."""
    return f"{number:g} {'point' if number == 1 else 'points'}"


def percent(density: float) -> str:
    """A density in percent with three significant digits: 100, 51.2, 8.59."""
    return f"{100 * density:.3g}"


def dodge(methods: int, densities: Iterable[float]) -> list[float]:
    """A factor for the densities of each of so many methods, which moves its points a little to the side, so that error
    bars do not hide each other."""
    levels = sorted({1.0, *densities}, reverse=True)
    gap = min((math.log(a / b) for a, b in itertools.pairwise(levels)), default=0.1)
    step = min(0.009 * math.log(levels[0] / levels[-1] + 1), 0.4 * gap / methods)
    return [math.exp(((methods - 1) / 2 - number) * step) for number in range(methods)]


def round_axis(axes: Axes, rounds: Iterable[int], label: str) -> None:
    """Rounds as whole numbers."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}" if value in set(rounds) else ""))
