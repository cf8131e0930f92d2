"""Densities of layers: one figure of a few layers for all methods, a heat map of many layers for each."""

import pytest

from lottery.reports import style
from lottery.reports.chapters.layer_densities import MOST_PANELS, layer_density_parts
from lottery.reports.comparison.methods import SEARCH, group_by_task
from lottery.reports.document import Figure, Table
from tests.helpers import IMP, PRAC, logged, made, round_row


def parts_of(runs):
    (task,), _ = logged(group_by_task, runs)
    return layer_density_parts(task, task.by_kind(SEARCH))


def with_layers(settings, kept, seed=0):
    """A run of one round for each list of kept weights, of 100 in each layer."""
    run = made("r", settings, [90], seed)
    run.rounds = [
        round_row(k, 90, layers={f"fc{n}.weight": {"size": 100, "kept": each} for n, each in enumerate(counts)})
        for k, counts in enumerate(kept)
    ]
    return run


def test_a_few_layers_have_a_panel_each_with_a_line_for_every_method(monkeypatch):
    drawn = []
    monkeypatch.setitem(style.FORMATS, "png", lambda figure, _: drawn.append(figure))
    runs = [with_layers(IMP, [[100, 100], [60, 40 + 20 * seed], [0, 50]], seed) for seed in range(2)]
    figure, *tables = parts_of([*runs, with_layers(PRAC, [[100, 100], [90, 10]])])
    assert isinstance(figure, Figure) and figure.name == "density_by_layer_digits_tiny"
    assert [table.name for table in tables] == ["density_by_layer_imp_digits_tiny", "density_by_layer_prac_digits_tiny"]
    first, second = drawn[0].axes
    by_name = {line.get_label(): line for line in second.lines}
    densities = [row["density"] for row in runs[0].rounds]
    assert list(by_name["IMP"].get_xdata()) == pytest.approx(densities)
    assert list(by_name["IMP"].get_ydata()) == pytest.approx([1, 0.5, 0.5])  # means over seeds
    assert list(by_name["PrAC"].get_ydata()) == pytest.approx([1, 0.1])
    (imp,) = [line for line in first.lines if line.get_label() == "IMP"]
    assert list(imp.get_ydata()) == pytest.approx([1, 0.6])  # nothing is left of it in round 2
    assert tables[0].rows[0] == ["fc0.weight", 100, 60, 0]


def test_many_layers_are_heat_maps():
    parts = parts_of([with_layers(settings, [[50] * (MOST_PANELS + 1)]) for settings in (IMP, PRAC)])
    names = [f"density_by_layer_{method}_digits_tiny" for method in ("imp", "prac")]
    for kind in (Figure, Table):
        assert [part.name for part in parts if isinstance(part, kind)] == names


def test_one_layer_is_as_dense_as_all():
    assert all(isinstance(part, Table) for part in parts_of([with_layers(IMP, [[50], [30]])]))
