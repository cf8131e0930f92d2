"""Overlaps, vanishing layers and mask distances, by hand."""

import re
from fnmatch import fnmatch

import pytest
import torch

from lottery.checkpointing.checkpoint import write
from lottery.reports import style
from lottery.reports.chapters.masks import distance_parts, mask_distances, mask_parts, mean_distances
from lottery.reports.chapters.overlap import overlap_parts
from lottery.reports.comparison.masks import overlap, vanishing_layers, vanishing_reason
from lottery.reports.comparison.methods import SEARCH, group_by_task
from lottery.reports.comparison.overlap_pairs import chosen_levels, in_one_basis, levels_of_density, ticket_pairs
from lottery.reports.document import Listing, Table
from lottery.results.ticket_runs import Run
from tests.helpers import IMP, PRAC, logged, made, round_row, seeds


def test_overlap_by_hand():
    """Layer a: {0, 1} and {1, 2} of 4; b: {0} and {0} of 2. Both 2, either 4; by chance 1 + 1/2 of 6 - 1.5."""
    one = {"a": torch.tensor([1, 1, 0, 0]).bool(), "b": torch.tensor([1, 0]).bool()}
    two = {"a": torch.tensor([0, 1, 1, 0]).bool(), "b": torch.tensor([1, 0]).bool()}
    assert overlap(one, two) == (0.5, 1.5 / 4.5)
    assert overlap(one, one).share == 1


@pytest.mark.parametrize(
    "size, kept, filters, words",
    [
        (1000, 0, 4, "nothing of it is left"),
        (1000, 9, 4, "fewer than 1%"),
        (100, 3, 4, "fewer than one for each of its 4 filters"),
        (1000, 10, 4, None),
        (100, 4, 4, None),
    ],
)
def test_layers_that_are_about_to_vanish(size, kept, filters, words):
    found = vanishing_reason({"size": size, "kept": kept, "filters": filters, "dead_filters": 0})
    assert (words in found) if words else found is None


def test_a_vanishing_layer_is_reported_once_for_a_method_with_its_first_round():
    layers = [{"conv": {"size": 100, "kept": kept, "filters": 8, "dead_filters": 0}} for kept in (50, 7, 3)]
    found = Run("r", IMP, [round_row(k, 90, layers=layer) for k, layer in enumerate(layers)])
    (sentence,) = vanishing_layers("IMP", [Run("q", IMP, found.rounds[:1]), found, Run("p", IMP, found.rounds[2:])])
    assert sentence.startswith("IMP: conv is about to vanish in 2 of 3 runs, first in round 1: 7 of 100 weights")


def test_names_of_tables_say_what_is_in_them_and_many_warnings_lead_to_one():
    """Thirteen layers vanish: the sentence in place of the last ones names a table that is there."""
    layers = {f"conv{n}": {"size": 100, "kept": 7, "filters": 8, "dead_filters": 0} for n in range(13)}
    ends = {"distances": [0.3, 0.1], "interval": None, "armed": True}
    (task,), _ = logged(group_by_task, [made("r", PRAC, [90])])
    task.methods[0].runs[0].rounds = [round_row(0, 90, layers=layers, **ends)]
    parts = mask_parts(task)
    tables = {part.name for part in parts if isinstance(part, Table)}
    assert tables == {f"{what}_prac_digits_tiny" for what in ("ends_of_rounds", "mask_distance", "density_by_layer")}
    (listing,) = [part for part in parts if isinstance(part, Listing)]
    named = re.findall(r"tables/(\S+)\.csv", listing.items[-1])
    assert "1 more" in listing.items[-1] and all(any(fnmatch(table, name) for table in tables) for name in named)
    assert len(named) == 1


def test_rows_of_coefficients_along_the_outputs_are_no_dead_filters():
    layers = {"conv": {"size": 100, "kept": 50, "filters": 8, "dead_filters": 3}}
    runs = [made("r", IMP | more, [90]) for more in ({}, {"basis": "dct", "basis_axes": ["out", "in"]})]
    for run in runs:
        run.rounds = [round_row(0, 90, layers=layers)]
    (task,), _ = logged(group_by_task, runs)
    (table,) = [part for part in mask_parts(task) if isinstance(part, Table) and part.name.startswith("dead")]
    assert [row[0] for row in table.rows] == ["IMP"]


def test_distances_without_epochs_come_from_the_row():
    found = Run("r", PRAC, [round_row(0, 90, distances=[0.3, 0.1], interval=None)])
    assert mask_distances(found, found.rounds[0]) == [(1, 0.3), (2, 0.1)]
    found.epochs = [{"round": 0, "epoch": 5, "distance": 0.2}, {"round": 1, "epoch": 5, "distance": 0.9}]
    assert mask_distances(found, found.rounds[0]) == [(5, 0.2)]


def test_a_damaged_mask_leaves_the_other_overlaps(tmp_path):
    runs = seeds(IMP, [[90, 80]] * 3)
    for run, kept in zip(runs, ([1, 1, 0, 0], [1, 0, 1, 0], None), strict=True):
        run.path = tmp_path / run.name
        run.path.mkdir()
        state = {"conv.weight_orig": torch.zeros(4), "conv.weight_mask": torch.tensor(kept or [0.0]).float()}
        write(run.path / "1checkpoint.pth.tar", {"state_dict": state})
    (runs[2].path / "1checkpoint.pth.tar").write_bytes(b"none")
    (task,), _ = logged(group_by_task, runs)
    warning, _, table = overlap_parts(task)
    assert warning.warns and warning.text.startswith(f"{runs[2].name}: ")
    assert warning.text.endswith("its ticket is compared with none.")
    assert table.rows == [[50, runs[0].name, 1, runs[1].name, 1, pytest.approx(100 / 3), pytest.approx(100 / 3)]]


def test_means_of_distances_end_where_the_first_seed_stopped():
    assert mean_distances([[(1, 0.4), (2, 0.1)], [(1, 0.1), (2, 0.1), (3, 0.5)]]) == [
        (1, pytest.approx(0.2)),
        (2, pytest.approx(0.1)),
    ]
    assert mean_distances([[(1, 0.4)], [(2, 0.1), (3, 0.5)]]) == [(2, 0.1), (3, 0.5)]


def test_the_distances_of_every_seed_are_drawn(monkeypatch):
    drawn = []
    monkeypatch.setitem(style.FORMATS, "png", lambda figure, _: drawn.append(figure.axes[0]))
    rows = {"interval": None, "armed": True, "stopped": True}
    runs = [made("r", PRAC, [90], seed) for seed in range(3)]
    for run in runs:
        run.rounds = [round_row(0, 90, distances=[0.3, 0.1 / (1 + run.seed), *[0.05] * run.seed], **rows)]
    (task,), _ = logged(group_by_task, runs)
    figure, *_ = distance_parts(task, task.by_kind(SEARCH)[0])
    lines = {tuple(line.get_ydata()) for line in drawn[0].lines if len(line.get_xdata()) > 1}
    assert {(0.3, 0.1), (0.3, 0.05, 0.05), (0.3, 0.1 / 3, 0.05, 0.05)} < lines
    stops = {tuple(place) for part in drawn[0].collections for place in part.get_offsets().tolist()}
    assert stops == {(2, 0.1), (3, 0.05), (4, 0.05)}
    assert "the geometric mean of 3 seeds" in figure.caption


def with_masks(run, folder, densities):
    """The run with a checkpoint after each number of prunings, whose mask keeps this share of 64 weights."""
    run.path = folder / run.name
    run.path.mkdir()
    for k, density in densities.items():
        mask = (torch.arange(64) < 64 * density).float()
        state = {"conv.weight_orig": torch.zeros(64), "conv.weight_mask": mask}
        write(run.path / f"{k}checkpoint.pth.tar", {"state_dict": state})
    return run


def test_the_newest_ticket_which_no_round_trained_is_compared_too(tmp_path):
    runs = [with_masks(run, tmp_path, {1: 0.5, 2: 0.25}) for run in seeds(IMP, [[90, 80]] * 2)]
    found = ticket_pairs(runs)
    assert [(pair.density, pair.first.prunings, pair.overlap.share) for pair in found.pairs] == [
        (0.5, 1, 1),
        (0.25, 2, 1),
    ]
    (runs[0].path / "2checkpoint.pth.tar").unlink()
    found = ticket_pairs(runs)
    assert [pair.density for pair in found.pairs] == [0.5] and not found.problems


def test_the_newest_ticket_of_a_search_in_blocks_has_the_density_of_its_file(tmp_path):
    """Its rate counts blocks."""
    runs = [with_masks(run, tmp_path, {1: 0.5, 2: 0.375}) for run in seeds(IMP | {"block": "row"}, [[90, 80]] * 2)]
    assert [(pair.density, pair.first.prunings) for pair in ticket_pairs(runs).pairs] == [(0.5, 1), (0.375, 2)]


def test_tickets_of_one_density_are_compared_however_many_prunings_they_took(tmp_path):
    """The second search began with a ticket that one pruning had made."""
    first, second = seeds(IMP, [[90, 80, 70], [80, 70]])
    for k, row in enumerate(second.rounds):
        row |= {"density": 0.5 ** (k + 1), "kept": 64 // 2 ** (k + 1)}
    with_masks(first, tmp_path, {1: 0.5, 2: 0.25, 3: 0.125})
    with_masks(second, tmp_path, {0: 0.5, 1: 0.25, 2: 0.125})
    found = [(pair.density, pair.first.prunings, pair.second.prunings) for pair in ticket_pairs([first, second]).pairs]
    assert found == [(0.5, 1, 0), (0.25, 2, 1), (0.125, 3, 2)]


def test_a_few_levels_are_read_the_sparsest_among_them(tmp_path):
    runs = seeds(IMP, [[90] * 9] * 2, tmp_path)
    levels = levels_of_density(runs)
    assert [level[0].prunings for level in levels] == list(range(1, 9))
    assert [level[0].prunings for level in chosen_levels(levels)] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("first", "second", "comparable"),
    [({}, {"basis": "canonical", "basis_axes": None}, True)]
    + [({"basis": kind, "basis_axes": ["out"]}, {"basis": kind, "basis_axes": ["out"]}, kind == "dct")
       for kind in ("dct", "random", "svd")]
    + [({"basis": "dct", "basis_axes": ["out"]}, {"basis": "dct", "basis_axes": ["in"]}, False),
       ({}, {"basis": "dct", "basis_axes": ["in"]}, False)],
)  # fmt: skip
def test_masks_in_different_bases_have_nothing_in_common(first, second, comparable):
    assert in_one_basis(made("a", IMP | first, [90]), made("b", IMP | second, [90])) == comparable
