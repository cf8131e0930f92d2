"""The table of elastic tickets, controls and tickets trained by a rule, by hand."""

from lottery.reports.chapters.altered_tickets import altered_ticket_parts
from lottery.reports.comparison.methods import group_by_task
from tests.helpers import IMP, SNIP, control, deep, elastic_ticket, init_ticket, logged, made, retrained, seeds


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
