"""The table of elastic tickets, controls and tickets trained by a rule, by hand."""

from lottery.reports.chapters.altered_tickets import altered_ticket_parts
from lottery.reports.comparison.accuracy import accuracy_points
from lottery.reports.comparison.methods import group_by_task
from tests.helpers import IMP, SNIP, control, deep, elastic_ticket, init_ticket, logged, made, retrained, seeds
from tests.reports.test_sparse_training import DST, ticket

RIGL = DST | {"method": "rigl", "distribution": "erk", "drop": None}


def test_the_table_of_elastic_tickets_and_controls_by_hand():
    """Networks flat and deep. Rows: where tickets come from; the ticket after one pruning has no controls."""
    flat = IMP | {"arch": "flat"}
    runs = [retrained(flat, 2, 90.0 + 2 * seed, seed, seed) for seed in (0, 1)]
    runs += [retrained(flat, 1, 99.0), control(flat, "reinit", 2, 80.0)]
    for each in runs:
        each.settings = each.settings | {"arch": "flat"}
    runs += [
        made("r", flat, [95.0]),
        deep(2, 91.0),
        elastic_ticket(IMP, 0.28, 89.0),
        elastic_ticket(IMP, 0.30, 91.0, seed=1),
    ]
    tasks, _ = logged(group_by_task, runs)
    _, figure, table, beside = altered_ticket_parts(tasks, 0.5)
    assert figure.name == f"altered_tickets_{tasks[0].stem}"
    assert [column.heading for column in table.columns] == ["tickets", "prunings", "flat", "deep"]
    assert table.rows == [
        ["dense network", None, "95.00 (1)", None],
        ["IMP", 2, "91.00 ± 1.41 at 25.00 % (2)", "91.00 at 25.00 % (1)"],
        ["IMP, re-initialised", 2, "80.00 at 25.00 % (1)", None],
        ["IMP of flat, elastic (append)", 2, None, "90.00 ± 1.41 at 29.00 % (2)"],
    ]
    assert list(beside.items) == [
        "deep: IMP of flat, elastic (append), 29.00 % of the weights: 90.00 ± 1.41; minus IMP at 25.00 %: "
        "-2.00 points (one pair)."
    ]
    assert altered_ticket_parts(logged(group_by_task, seeds(IMP, [[90, 91]]))[0], 0.5) == []


def test_tickets_pruned_at_init_their_controls_and_elastic_ones_by_density():
    """Two densities are two rows; so they are for elastic tickets."""
    runs = [init_ticket(90.0, kept=16), init_ticket(93.0, kept=32)]
    controls = [init_ticket(80.0, kept=16), init_ticket(83.0, kept=32)]
    for each in controls:
        each.settings = each.settings | {"control": "reinit"}
    far = [elastic_ticket(IMP, 0.28, 70.0, k=None), elastic_ticket(IMP, 0.55, 73.0, k=None)]
    for each, kept in zip(far, (16, 32), strict=True):
        each.summary["ticket"]["source"]["settings"] = SNIP | {"kept": kept, "seed": 0, "arch": "flat"}
    _, _, table, _ = altered_ticket_parts(logged(group_by_task, runs + controls + far)[0], 0.5)
    assert [column.heading for column in table.columns] == ["tickets", "prunings", "tiny", "deep"]
    assert table.rows == [
        ["dense network", None, None, None],
        ["SNIP", None, "93.00 at 50.00 % (1)", None],
        ["SNIP, re-initialised", None, "83.00 at 50.00 % (1)", None],
        ["SNIP of flat, elastic (append)", None, None, "73.00 at 55.00 % (1)"],
        ["SNIP", None, "90.00 at 25.00 % (1)", None],
        ["SNIP, re-initialised", None, "80.00 at 25.00 % (1)", None],
        ["SNIP of flat, elastic (append)", None, None, "70.00 at 28.00 % (1)"],
    ]


def test_tickets_of_sparse_trainings_and_their_controls_by_density():
    found = {density: RIGL | {"density": density} for density in (0.25, 0.5)}
    runs = [ticket(settings, 90 + 10 * density, density) for density, settings in found.items()]
    controls = [ticket(settings, 80 + 10 * density, density) for density, settings in found.items()]
    for each in controls:
        each.settings = each.settings | {"control": "random_mask"}
    _, _, table, *_ = altered_ticket_parts(logged(group_by_task, runs + controls)[0], 0.5)
    assert [row[2] for row in table.rows[1:]] == [
        "95.00 at 50.00 % (1)", "85.00 at 50.00 % (1)", "92.50 at 25.00 % (1)", "82.50 at 25.00 % (1)"]  # fmt: skip


def test_elastic_tickets_of_sparse_trainings_are_not_averaged_over_densities():
    far = [elastic_ticket(IMP, 0.28, 70.0, k=None), elastic_ticket(IMP, 0.55, 73.0, k=None)]
    for each, density in zip(far, (0.25, 0.5), strict=True):
        each.summary["ticket"]["source"]["settings"] = RIGL | {"density": density, "seed": 0, "arch": "flat"}
    (task,), _ = logged(group_by_task, far)
    (method,) = task.methods
    assert [(point.density, point.values) for point in accuracy_points(method)] == [(0.55, {0: 73}), (0.28, {0: 70})]


def test_tickets_of_whole_filters_are_one_point_for_all_seeds():
    """Filters of several sizes: each seed has a density of its own after as many prunings."""
    search, runs = IMP | {"block": "filter"}, []
    for seed, density in enumerate((0.24, 0.26)):
        runs.append(retrained(search, 2, 90 + seed, seed, seed))
        runs[-1].rounds = [row | {"density": density} for row in runs[-1].rounds]
        runs.append(retrained(search, 2, 80 + seed, seed, seed))
        runs[-1].rounds = [row | {"density": density} for row in runs[-1].rounds]
        runs[-1].settings = runs[-1].settings | {"control": "random_mask"}
    (task,), _ = logged(group_by_task, runs)
    own = accuracy_points(next(method for method in task.methods if not method.base))
    assert [(point.density, point.values, point.prunings) for point in own] == [(0.25, {0: 90, 1: 91}, 2)]
    _, _, table, *_ = altered_ticket_parts([task], 0.5)
    assert [row[2] for row in table.rows[1:]] == ["90.50 ± 0.71 at 25.00 % (2)", "80.50 ± 0.71 at 25.00 % (2)"]
