"""Curves of accuracy: their points, references, differences and markers."""

import pytest

from lottery.reports.chapters.accuracy import accuracy_parts
from lottery.reports.chapters.accuracy_figures import dense_names
from lottery.reports.chapters.summary import summary_parts
from lottery.reports.chapters.verdict import UNSUPPORTED, marker_sentences
from lottery.reports.comparison.methods import TICKETS, group_by_task
from lottery.reports.comparison.statistics import Interval
from lottery.reports.document import Table, unfolded
from lottery.retraining.rules import RULES
from lottery.tickets.controls import CONTROLS
from tests.helpers import (
    IMP,
    PRAC,
    TRAIN,
    control,
    curves,
    deep,
    elastic_ticket,
    init_ticket,
    logged,
    made,
    names,
    retrained,
    round_row,
    seeds,
)


def test_markers_of_curves():
    """PrAC is a point below IMP from round 2 on, and IMP falls below dense in round 3; little noise."""
    noise = [0.00, 0.01, 0.02, 0.03, 0.04]
    imp = seeds(IMP, [[90 + e, 91 + e, 90.5 + e, 80 - e] for e in noise])
    prac = seeds(PRAC, [[90 + e, 91 - e, 89.5 + e, 79 + e] for e in noise])
    found = curves(imp + prac)
    assert (found["IMP"].winning, found["IMP"].equal) == (0.25, None)
    assert (found["PrAC"].winning, found["PrAC"].equal) == (0.5, 0.5)
    assert curves(imp + prac, margin=2.0)["PrAC"].winning == 0.25
    assert curves(imp[:4] + prac)["PrAC"].equal is None, "four pairs give no verdict"
    point = found["PrAC"].points[2]
    assert point.against_imp.mean == pytest.approx(-1) and point.against_dense.n == 5


def test_only_pairs_are_compared():
    imp, prac = seeds(IMP, [[90, 90]] * 3), seeds(PRAC, [[90, 89]] * 5)
    assert curves(imp + prac)["PrAC"].points[1].against_imp.n == 3


def test_the_dense_network_in_several_orders_is_one_value_of_its_seed():
    bare = TRAIN | {"init_dir": False, "mask_dir": False}
    dense = [made("d", bare | {"order_seed": order}, [test]) for order, test in ((1, 90.0), (2, 94.0))]
    assert curves([*dense, made("a", IMP, [80.0, 81.0])])["IMP"].dense == {0: 92.0}


def test_tickets_are_paired_by_the_seed_of_their_search():
    searches = [(IMP, s, 90.0 + s) for s in range(5)] + [(PRAC, s, 89.0 + s) for s in range(5)]
    found = curves([retrained(search, 1, test, 0, s) for search, s, test in searches], TICKETS)
    assert found["PrAC"].points[0].against_imp == Interval(5, -1.0, -1.0, -1.0)
    again = curves([retrained(search, 1, test, s, 0) for search, s, test in searches], TICKETS)
    assert again["PrAC"].points[0].against_imp == Interval(5, -1.0, -1.0, -1.0), "one ticket, five trainings"


def test_the_dense_network_is_main_train_where_it_is_there():
    dense = made("d", TRAIN | {"init_dir": False}, [95.0], 0)
    other = made("e", TRAIN | {"init_dir": False, "epochs": 9}, [99.0], 0)
    runs = [made("a", IMP, [90.0, 91.0], 0), made("b", IMP, [80.0, 81.0], 1)]
    assert curves([*runs, dense, other])["IMP"].dense == {0: 95.0, 1: 80.0}


def test_weights_alone_are_no_dense_network_of_the_seed():
    """Whatever they are: those of a search, or of a file that says nothing, as epoch_3_rewind_weight.pt."""
    alone = TRAIN | {"init_dir": True, "mask_dir": False}
    unknown = made("w", alone, [99.0], summary={"ticket": {"file": "f", "prunings": None, "settings": None}})
    older = made("x", alone, [98.0], seed=1)  # of which only a checkpoint is left
    found = curves([unknown, older, *seeds(IMP, [[90.0, 91.0]] * 2)])
    assert found["IMP"].dense == {0: 90.0, 1: 90.0}
    assert names([unknown, older], TICKETS) == ["tickets of unknown origin, dense"]


def test_tickets_trained_by_a_rule_are_curves_of_their_own_beside_imp():
    """Runs from before there were rules are none by one. A rule that trains on from trained weights takes more steps in
    all than IMP, which is its reference only under the same rule."""
    plain = [retrained(IMP, 1, 90.0 + seed, seed, seed) for seed in range(5)]
    tuned = [retrained(IMP, 1, 88.5 + seed, seed, seed) for seed in range(5)]
    for each in tuned:
        each.settings = each.settings | {"rule": "fine_tuning", "rewind_lr": True}
    found = curves(plain + tuned, TICKETS)
    assert set(found) == {"IMP", "IMP, fine-tuned"} and found["IMP"].method.is_imp
    assert found["IMP, fine-tuned"].points[0].against_imp is None
    others = [retrained(PRAC, 1, 88.0 + seed, seed, seed) for seed in range(5)]
    for each in others:
        each.settings = each.settings | {"rule": "fine_tuning", "rewind_lr": True}
    found = curves(plain + tuned + others, TICKETS)
    assert found["PrAC, fine-tuned"].points[0].against_imp == Interval(5, -0.5, -0.5, -0.5)
    assert found["IMP, fine-tuned"].method.is_imp and not found["PrAC, fine-tuned"].method.is_imp


def test_the_dense_control_of_a_ticket_gets_no_verdict():
    """It is the same network whatever the prunings, and no ticket that could win or equal."""
    runs = [control(IMP, "dense", k, 95.0 + k) for k in (1, 2)] + [retrained(IMP, 1, 90.0)]
    for each in runs[:2]:
        each.rounds = [round_row(0, each.rounds[0]["test"], density=1.0, sparsity=0.0)]
    found = curves(runs, TICKETS)
    assert [point.mean for point in found["IMP, dense"].points] == [96.5]
    (sentence,) = marker_sentences(TICKETS, list(found.values()), 0.5)
    assert sentence.text.startswith("IMP, retrained")


def test_controls_are_methods_and_neither_the_reference_nor_the_dense_network():
    """Runs that are older than the flag have no such setting."""
    tickets = [retrained(IMP, 1, 90.0 + seed, seed, seed) for seed in range(5)]
    controls = [control(IMP, "random_mask", 1, 87.0 + seed, seed) for seed in range(5)]
    found = curves(controls + tickets, TICKETS)
    assert set(found) == {"IMP", "IMP, random mask"}
    assert found["IMP, random mask"].points[0].against_imp == Interval(5, -3.0, -3.0, -3.0)
    assert found["IMP"].points[0].against_imp is None
    assert found["IMP"].method.is_imp and not found["IMP, random mask"].method.is_imp
    (task,), _ = logged(group_by_task, controls + tickets)
    assert task.search_names == ["IMP", "IMP, random mask"], "each has a colour of its own"


def test_elastic_tickets_are_compared_with_imp_at_the_nearest_sparsity_seed_by_seed():
    """IMP at 50, 25 and 12.5 %. Each elastic ticket has a density of its own; their mean is 28 %, nearest to 25."""
    imp = [deep(k, 90.0 - k + seed, seed) for k in (1, 2, 3) for seed in range(5)]
    elastic = [elastic_ticket(IMP, 0.26 + 0.01 * seed, 87.0 + seed, seed) for seed in range(5)]
    found = curves(imp + elastic, TICKETS)
    (point,) = found["IMP of flat, elastic (append)"].points
    assert point.density == pytest.approx(0.28) and point.prunings == 2
    assert point.imp_density == 0.25 and point.against_imp == Interval(5, -1.0, -1.0, -1.0)
    assert point.against_near_imp == point.against_imp
    assert curves(imp + elastic, TICKETS, margin=1.5)["IMP of flat, elastic (append)"].equal == point.density
    assert found["IMP"].method.is_imp and not found["IMP of flat, elastic (append)"].method.is_imp


def test_no_verdict_rests_on_densities_that_are_far_apart():
    imp = [deep(3, 90.0, seed) for seed in range(5)]
    elastic = [elastic_ticket(IMP, 0.16, 95.0, seed) for seed in range(5)]
    found = curves(imp + elastic, TICKETS)["IMP of flat, elastic (append)"]
    (point,) = found.points
    assert point.against_imp.mean == 5.0 and point.imp_density == 0.125
    assert point.against_near_imp is None and found.equal is None
    near = [elastic_ticket(IMP, 0.15, 95.0, seed) for seed in range(5)]
    assert curves(imp + near, TICKETS)["IMP of flat, elastic (append)"].equal == 0.15


def test_tickets_pruned_at_init_are_one_method_at_all_densities_beside_imp():
    """The seeds pair with those of the search, whatever seed the training has."""
    imp = [retrained(IMP, k, 92.0 - k + seed, seed, seed) for k in (1, 2) for seed in range(5)]
    snip = [init_ticket(89.0 - 1 / kept + seed, seed, kept) for kept in (16, 32) for seed in range(5)]
    other = [init_ticket(80.0, seed, step=1000, iterations=10) for seed in range(5)]
    found = curves(imp + snip + other, TICKETS)
    assert set(found) == {"IMP", "SNIP", "SNIP at step 1000, 10 iterations"}
    dense, sparse = found["SNIP"].points
    assert (dense.density, sparse.density) == (0.5, 0.25)
    assert sparse.against_imp.mean == pytest.approx(-1 - 1 / 16) and sparse.against_imp.n == 5
    assert not found["SNIP"].method.is_imp and not found["SNIP"].method.is_altered


def test_many_altered_tickets_are_left_out_of_the_figure_of_methods():
    """A line each for nine kinds could not be distinguished; all of them are in the table."""
    kinds = [{"control": name} for name in CONTROLS] + [{"rule": name} for name in RULES]
    runs = [retrained(search, 1, 90.0) for search in (IMP, PRAC)]
    for kind in [*kinds, {"control": "dense", "rule": "fine_tuning"}]:
        runs.append(retrained(IMP, 1, 88.0))
        runs[-1].settings = runs[-1].settings | kind
    (task,), _ = logged(group_by_task, runs)
    (figure,) = [part for part in unfolded(summary_parts(task, 0.5)) if "weights" in getattr(part, "name", "")]
    words = [text for text in figure.files.svg.decode().splitlines() if "<!--" in text]
    assert any("PrAC" in text for text in words) and not any("random mask" in text for text in words)
    assert figure.caption.endswith("are in a chapter of their own.")
    assert len({row[0] for part in accuracy_parts(task, 0.5) if isinstance(part, Table) for row in part.rows}) == 10
    assert task.search_names[:2] == ["IMP", "PrAC"], "they have distinct colours"


def test_a_cheaper_imp_is_compared_with_the_most_thorough_one():
    """Its tickets were trained by the same recipe; what differs is how the search trained and pruned."""
    cheap = IMP | {"rate": None, "densities": [0.5, 0.25], "epochs": 1}
    runs = [retrained(search, 2, test, seed, seed) for search, test in ((IMP, 90), (cheap, 88)) for seed in range(5)]
    found = curves(runs, TICKETS)
    (thorough,) = [curve for name, curve in found.items() if "rate 0.5" in name]
    (short,) = [curve for name, curve in found.items() if "densities 0.5,0.25" in name]
    assert thorough.points[0].against_imp is None
    assert short.points[0].against_imp.mean == -2
    (sentence,) = [sentence for sentence in marker_sentences(TICKETS, [short], 0.5) if "thorough" in sentence.text]
    assert sentence.outcome == UNSUPPORTED and "not shown to be as good as the most thorough IMP" in sentence.text
    assert not any("thorough" in sentence.text for sentence in marker_sentences(TICKETS, [thorough], 0.5))


def test_augmented_trainings_are_compared_with_augmented_ones():
    """Both searches record --augmentation crop; only one of them used it."""
    plain, augmented = ({"augmentation": "crop", "no_augmentation": each} for each in (True, False))
    runs = []
    for seed in range(5):
        runs += [made("d", TRAIN | plain | {"init_dir": False, "mask_dir": False}, [80 + seed], seed)]
        runs += [made("d", TRAIN | augmented | {"init_dir": False, "mask_dir": False}, [90 + seed], seed)]
        ticket = retrained(IMP | augmented, 1, 88 + seed, seed, seed)
        ticket.settings = ticket.settings | augmented
        runs.append(ticket)
    (curve,) = curves(runs, TICKETS).values()
    assert curve.points[0].against_dense.mean == -2 and curve.winning is None


def test_tickets_are_compared_with_the_imp_whose_search_is_most_like_theirs():
    """Tickets are trained alike, wherever their searches rewound to."""
    lt, rewound = ({"prune_type": each} for each in ("lt", "rewind_lt"))
    runs = []
    for seed in range(5):
        runs += [retrained(IMP | lt, 1, 80 + seed, seed, seed), retrained(IMP | rewound, 1, 89 + seed, seed, seed)]
        runs.append(retrained(IMP | rewound | {"random_prune": True}, 1, 85 + seed, seed, seed))
    (random,) = (curve for name, curve in curves(runs, TICKETS).items() if "random pruning" in name)
    assert random.points[0].against_imp.mean == -4


def test_the_reference_has_tickets_of_the_same_densities():
    """A more thorough search that prunes to other densities says nothing about these."""
    tests = ((IMP, 90), (IMP | {"epochs": 1}, 88), (PRAC, 89))
    runs = [retrained(search, 2, test, seed, seed) for search, test in tests for seed in range(5)]
    for seed in range(5):
        runs.append(retrained(IMP | {"rate": 0.3}, 2, 95, seed, seed))
        runs[-1].rounds = [round_row(2, 95, density=0.49, sparsity=0.51)]
    found = {name: curve.points[0].against_imp for name, curve in curves(runs, TICKETS).items()}
    compared = {name: difference.mean for name, difference in found.items() if difference}
    assert compared == {"PrAC": -1, "IMP (epochs 1, rate 0.5)": -2} and len(found) == 4


def test_a_network_that_trained_on_what_validates_others_is_not_their_dense_network():
    """Without a validation set there are more examples to train on; the mean over both would be of neither."""
    runs = [made("a", TRAIN | {"val_fraction": share}, [test]) for share, test in ((0.1, 90.0), (0.0, 96.0))]
    runs.append(retrained(IMP, 1, 89.0))
    runs[-1].settings = runs[-1].settings | {"val_fraction": 0.1}
    (curve,) = curves(runs, TICKETS).values()
    assert curve.dense == {0: 90.0} and curve.points[0].against_dense.mean == -1


def test_tickets_of_pretrained_networks_are_compared_with_what_began_alike():
    """A dense network from random weights is no yardstick of a ticket from pre-trained ones, nor is IMP from those."""
    began = {"weights checksum": "w"}
    runs = [made("a", TRAIN | more, [test]) for more, test in ((began, 95.0), ({}, 90.0))]
    runs += [retrained(search | more, 1, test) for search, more, test in (
        (IMP, {}, 89.0), (IMP, began, 94.0), (PRAC, began, 93.0))]  # fmt: skip
    found = curves(runs, TICKETS)
    dense = sorted((curve.dense[0], curve.points[0].mean) for curve in found.values())
    assert dense == [(90.0, 89.0), (95.0, 93.0), (95.0, 94.0)]
    (prac,) = [curve for name, curve in found.items() if name.startswith("PrAC")]
    assert prac.points[0].against_imp.mean == -1


def test_dense_networks_of_several_recipes_are_told_apart():
    """By what differs, in the words of the methods' names; one alone needs none."""
    adam = IMP | {"lr": 0.001, "optimizer": "adam"}
    runs = [made("a", IMP | {"lr": 0.1}, [90, 91]), made("b", adam, [80, 81])]
    methods = [found.method for found in curves(runs).values()]
    assert dense_names(methods) == ["dense network (lr 0.1, optimizer sgd)", "dense network (lr 0.001, optimizer adam)"]
    assert dense_names(methods[:1]) == ["dense network"]
    rewound = retrained(IMP, 1, 90.0)
    rewound.settings = rewound.settings | {"rule": "lr_rewinding"}
    (found,) = curves([rewound], TICKETS).values()
    assert dense_names([found.method]) == ["dense network, learning-rate rewinding"]
