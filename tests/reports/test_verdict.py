"""Verdicts: what controls let one say of tickets, from differences made by hand."""

import pytest

from lottery.reports.chapters.verdict import OPEN, SUPPORTED, UNSUPPORTED, verdict_parts
from lottery.reports.comparison.accuracy import accuracy_curves
from lottery.reports.comparison.methods import SEARCH, TICKETS, group_by_task
from lottery.reports.comparison.verdict import statements
from lottery.reports.document import Folded, Listing, Paragraph, Table, unfolded
from tests.helpers import IMP, PRAC, TRAIN, control, elastic_ticket, init_ticket, logged, retrained, seeds


def task_of(runs):
    (task,), _ = logged(group_by_task, runs)
    return task


def tickets(by_prunings, count=5):
    """Tickets of IMP and one control of each, `count` seeds: {prunings: (ticket, {control: points that it loses})}."""
    runs = []
    for k, (test, losses) in by_prunings.items():
        for seed in range(count):
            runs.append(retrained(IMP, k, test + seed, seed, seed))
            runs += [
                control(IMP, name, k, test + seed - loss + 0.1 * (seed % 2), seed) for name, loss in losses.items()
            ]
    return runs


def outcomes(runs, margin=0.5):
    """Sentences of the chapter by outcome, and its table's rows."""
    found, outcome, rows = {}, None, []
    for part in unfolded(verdict_parts(task_of(runs), margin)):
        if isinstance(part, Paragraph) and part.text.rstrip(":") in (SUPPORTED, UNSUPPORTED, OPEN):
            outcome = part.text.rstrip(":")
        elif isinstance(part, Listing):
            found[outcome] = list(part.items)
        elif isinstance(part, Table):
            rows = part.rows
    return found, rows


def test_a_ticket_is_compared_with_its_control_seed_by_seed():
    """Losses of 2 points, or 1.9 for odd seeds: mean 1.96, whatever the seeds' own accuracies are."""
    (statement,) = statements(accuracy_curves(task_of(tickets({1: (90, {"random_mask": 2.0})})), TICKETS, 0.5), 0.5)
    ((density, difference),) = statement.differences
    assert (statement.about, statement.reference, density) == ("IMP", "IMP, random mask", 0.5)
    assert (difference.n, difference.mean) == (5, pytest.approx(1.96))
    assert statement.where == [0.5] and statement.contradicted == []


def test_what_is_shown_from_a_sparser_ticket_on_is_said():
    """One point below IMP at 50 % of the weights, level with it at 25 %."""
    runs = [retrained(IMP, k, 90.0, seed, seed) for k in (1, 2) for seed in range(5)]
    runs += [retrained(PRAC, k, 88.0 + k, seed, seed) for k in (1, 2) for seed in range(5)]
    found, _ = outcomes(runs)
    (text,) = [text for text in found[UNSUPPORTED] if "PrAC" in text and "good as IMP" in text]
    assert text == (
        "PrAC, retrained: not shown to be as good as IMP at 50 % of the weights, where a verdict begins; by itself the "
        "interval at 25 % of the weights would show it."
    )


def test_trainings_of_one_ticket_speak_of_that_ticket():
    runs = [retrained(search, 1, 90.0, seed, 0) for search in (IMP, PRAC) for seed in range(5)]
    found, _ = outcomes(runs)
    (text,) = found[SUPPORTED]
    assert text.startswith("PrAC, one ticket, retrained: as good as IMP down to 50 %")


def test_statements_are_sorted_by_what_came_of_them():
    runs = tickets(
        {
            1: (90, {"random_mask": 2.0, "reinit": 0.05, "one_shot": -3.0}),
            2: (85, {"random_mask": 4.0, "reinit": 1.0, "one_shot": -3.0}),
        }
    )
    found, rows = outcomes(runs)
    (random,) = (text for text in found[SUPPORTED] if "random mask" in text)
    assert random.endswith(", at every sparsity compared (minus IMP, random mask: +1.96 to +3.96 points, by sparsity).")
    (reinit,) = (text for text in found[SUPPORTED] if "weights matter" in text)
    assert reinit.startswith(
        "IMP, retrained: its starting weights matter, at 25 % of the weights, not shown at 50 % of the wei"
    )
    (one_shot,) = (text for text in found[UNSUPPORTED] if "starting weights tells" in text)
    assert "not shown at any sparsity, the opposite at 50, 25 % of the weights (minus" in one_shot
    assert len(rows) == 6 and [row[-1] for row in rows].count(True) == 3


def test_four_pairs_leave_it_open():
    found, rows = outcomes(tickets({1: (90, {"random_mask": 2.0})}, count=4))
    assert found.keys() == {OPEN}
    *lacking, text = found[OPEN]
    assert lacking[0] == "IMP, retrained: no run of the dense network has the same seed."
    assert text.startswith(
        "1 more seed is needed for a verdict on IMP, retrained: which weights its mask keeps matters"
    )
    assert text.endswith("(minus IMP, random mask: +1.95 points).")
    assert rows[0][-1] is None


def test_many_open_statements_are_one_sentence():
    """Two searches with two seeds each, and a third method with one: how many seeds are missing, not a list."""
    by_seed = [[90.0, 90.0], [91.0, 91.0]]
    runs = seeds(IMP, by_seed) + seeds(PRAC, by_seed) + seeds(IMP | {"random_prune": True}, by_seed)
    parts = verdict_parts(task_of([*runs, *seeds(PRAC | {"cep": "none"}, by_seed[:1])]), 0.5)
    title, (three, four), folded, rules = parts[0].text, parts[1].items, *parts[2:]
    assert title == "Left open:" and three == "3 more seeds are needed for a verdict on 5 statements."
    assert four.startswith(
        "4 more seeds are needed for a verdict on PrAC, no CEP, during the search, against the dense"
    )
    assert [len(part.items) for part in unfolded([folded]) if isinstance(part, Listing)] == [5]
    assert rules.title == "The rules of the verdicts"


def test_the_control_without_a_mask_stands_beside_tickets_of_all_densities():
    """It was trained once for each seed; a ticket a tenth of a point below it is as good, one of two points is not."""
    runs = tickets({1: (90, {}), 2: (88, {})})
    runs += [control(IMP, "dense", 1, 90.1 + seed, seed) for seed in range(5)]
    (statement,) = statements(accuracy_curves(task_of(runs), TICKETS, 0.5), 0.5)
    assert [density for density, _ in statement.differences] == [0.5, 0.25]
    assert statement.where == [0.5] and statement.contradicted == [0.25]
    (text,) = about(outcomes(runs)[0], SUPPORTED, "without a mask")
    assert text == (
        "IMP, retrained: as good as its starting weights without a mask, trained alike, at 50 % of the weights, not "
        "shown at 25 % of the weights (minus IMP, dense: -2.10 to -0.10 points, by sparsity)."
    )


def ruled(runs, rule):
    """The same trainings, by a rule."""
    for run in runs:
        run.settings = run.settings | {"rule": rule}
    return runs


def test_tickets_that_were_trained_further_stand_beside_networks_that_were_too():
    """Fine-tuned tickets are five points above the dense network and one below the fine-tuned one."""
    dense = seeds(TRAIN, [[85.0 + seed] for seed in range(5)])
    tuned = tickets({1: (90, {"dense": 0.0})})
    for run in tuned:
        if run.settings.get("control"):
            run.rounds[0]["test"] += 1
    rewound = tickets({1: (88, {})})
    runs = dense + ruled(tuned, "fine_tuning") + ruled(rewound, "weight_rewinding")
    found = accuracy_curves(task_of(runs), TICKETS, 0.5)
    by_name = {curve.method.name: curve for curve in found}
    assert by_name["IMP, fine-tuned"].points[0].against_dense.mean == pytest.approx(-1.04)
    sentences, _ = outcomes(runs)
    words = "not shown to be winning (as good as the dense network trained on alike) at any sparsity"
    assert f"IMP, fine-tuned, retrained: {words}." in sentences[UNSUPPORTED]
    (text,) = about(sentences, SUPPORTED, "its trained weights serve better than rewound ones")
    assert text.startswith("IMP, fine-tuned, ") and "(minus IMP, weight rewinding: +2.00 points)" in text
    without = [run for run in runs if not run.settings.get("control")]
    sentences, _ = outcomes(without)
    assert about(sentences, OPEN, "no run of the dense network trained on alike has the same seed.")


def test_no_verdict_is_none_where_the_first_density_has_too_few_pairs():
    """Four seeds at half of the weights, five at a quarter."""
    runs = seeds(IMP, [[90.0, 95.0, 95.0] if seed else [90.0, 95.0] for seed in range(5)])
    for run in runs[:1]:
        run.rounds[1] = run.rounds[1] | {"density": 0.25, "sparsity": 0.75}
    sentences, _ = outcomes(runs)
    assert sentences.keys() == {OPEN}
    (text,) = sentences[OPEN]
    assert text == "1 more seed is needed for a verdict on IMP, during the search, against the dense network."


def test_seeds_are_not_what_is_lacking_where_imp_has_no_ticket_so_dense():
    """IMP has tickets at a half and a quarter, SNIP at 5/8 and a quarter: five pairs, none where SNIP begins."""
    runs = [retrained(IMP, k, 90.0 + seed, seed, seed) for k in (1, 2) for seed in range(5)]
    runs += [init_ticket(88.0, seed, kept) for kept in (40, 16) for seed in range(5)]
    (text,) = about(outcomes(runs)[0], OPEN, "of IMP")
    assert text == (
        "SNIP, retrained: no run of IMP at the same sparsity has the same seed at 62.5 % of the weights, where a "
        "verdict would begin."
    )


def test_one_ticket_trained_with_five_seeds_is_paired_with_no_five_searches():
    runs = [retrained(IMP, 1, 90.0 + seed, seed, seed) for seed in range(5)]
    for seed in range(5):
        runs.append(control(IMP, "random_mask", 1, 88.0 + seed, seed))
        runs[-1].summary["ticket"]["settings"]["seed"] = 0
    assert statements(accuracy_curves(task_of(runs), TICKETS, 0.5), 0.5) == []


def test_a_control_of_sets_stands_beside_the_run_that_made_them():
    """Of two PrAC searches that of the same threshold, of the same steps."""
    lenient = PRAC | {"threshold": 2}
    runs = seeds(PRAC | {"threshold": 0}, [[95.0, 90.0]] * 5) + seeds(lenient, [[95.0, 89.0]] * 5)
    runs += seeds(RANDOM | {"threshold": 2}, [[95.0, 88.0 + 0.1 * seed] for seed in range(5)])
    sentences, _ = outcomes(runs)
    (text,) = about(sentences, SUPPORTED, "which examples its sets hold matters")
    assert text.startswith("PrAC (threshold 2), during the search")
    runs = seeds(PRAC, [[95.0, 90.0]] * 5) + seeds(IMP | {"steps_of": True, "steps_of, round 1": 1}, [[95.0, 80.0]] * 5)
    sentences, _ = outcomes(runs)
    assert not about(sentences, SUPPORTED, "all the data for as many steps"), "its rounds took other steps"


def test_an_interval_that_holds_zero_supports_nothing():
    runs = [retrained(IMP, 1, 90.0 + (seed % 2), seed, seed) for seed in range(6)]
    runs += [control(IMP, "reinit", 1, 90.4, seed) for seed in range(6)]
    (text,) = outcomes(runs)[0][UNSUPPORTED]
    assert text.endswith("weights matter, not shown at any sparsity (minus IMP, re-initialised: +0.10 points).")


def test_carried_tickets_stand_beside_their_own_controls():
    """Each seed has a density of its own; the control of a carried ticket is none of IMP's on the spot."""
    runs = []
    for seed in range(5):
        density = 0.2 + 0.01 * seed
        runs.append(elastic_ticket(IMP, density, 90.0, seed))
        runs.append(elastic_ticket(IMP, density, 88.0 - 0.1 * seed, seed))
        runs[-1].settings = runs[-1].settings | {"control": "random_mask"}
        runs.append(retrained(IMP | {"arch": "deep"}, 2, 95.0, seed, seed))
        runs[-1].settings = runs[-1].settings | {"arch": "deep"}
    (statement,) = statements(accuracy_curves(task_of(runs), TICKETS, 0.5), 0.5)
    assert statement.about == "IMP of flat, elastic (append)"
    ((density, difference),) = statement.differences
    assert density == pytest.approx(0.22) and difference.mean == pytest.approx(2.2)


def test_a_control_with_another_recipe_is_none():
    runs = tickets({1: (90, {"reinit": 2.0})})
    for run in runs:
        if run.settings.get("control"):
            run.settings = run.settings | {"lr": 0.3}
        else:
            run.settings = run.settings | {"lr": 0.1}
    assert statements(accuracy_curves(task_of(runs), TICKETS, 0.5), 0.5) == []


RANDOM = PRAC | {"members": "random", "like_run, round 0": "s"}
SHORT = IMP | {"steps_of": True, "steps_of, round 0": 8}


def sets(prac, random, short, count=5):
    """Searches: PrAC, the same with random members, IMP with as many steps; test accuracies of their one sparse round,
    each seed a point above the one before."""
    tests = {"prac": (PRAC, prac), "random": (RANDOM, random), "short": (SHORT, short)}
    return [
        run
        for number, (settings, test) in enumerate(tests.values())
        for run in seeds(settings, [[95.0 + seed, test + seed + 0.1 * (seed % (2 + number))] for seed in range(count)])
    ]


def about(found, outcome, words):
    return [text for text in found.get(outcome, ()) if words in text]


def test_sets_matter_where_others_do_worse():
    found, _ = outcomes(sets(prac=90, random=88, short=87))
    (random,) = about(found, SUPPORTED, "which examples its sets hold matters")
    assert random.startswith("PrAC, during the search: which") and "(minus PrAC, random members: " in random
    assert about(found, SUPPORTED, "its sets serve better than all the data for as many steps")
    for words in ("shorter training explains", "number of examples explains"):
        (text,) = about(found, UNSUPPORTED, words)
        assert "the opposite at" in text


def test_shorter_training_explains_sets_where_it_does_as_well():
    """Within the margin of half a point, and the sets are not shown to matter."""
    found, _ = outcomes(sets(prac=90, random=88, short=90))
    (text,) = about(found, SUPPORTED, "shorter training explains what its sets do")
    assert text.startswith("IMP, as many steps as PrAC, during the search: as good as PrAC")
    assert about(found, UNSUPPORTED, "its sets serve better than all the data for as many steps")


def test_a_control_of_sets_whose_run_is_not_known_says_nothing():
    """Two PrAC searches that differ in what the control does not tell."""
    runs = sets(prac=90, random=88, short=87) + seeds(PRAC | {"cep": "none"}, [[95.0, 90.0]] * 5)
    found, _ = outcomes(runs)
    texts = [text for texts in found.values() for text in texts]
    assert not any("shorter training explains" in text for text in texts), "one of two searches"
    assert any("which examples its sets hold" in text for text in texts), "the sets were made as PrAC's, with CEP"


def test_winning_and_equal_are_said_in_the_same_chapter():
    imp = seeds(IMP, [[90 + seed, 90.2 + seed, 80 + seed] for seed in range(5)])
    found, rows = outcomes(imp)
    words = "winning (as good as the dense network) down to 50 % of the weights (50.00 % sparse)"
    assert found == {SUPPORTED: [f"IMP, during the search: {words}."]}
    assert rows == []
    *_, rules = verdict_parts(task_of(imp), 0.5)
    assert isinstance(rules, Folded) and rules.parts[0].text.startswith("Winning: ")
    assert verdict_parts(task_of(seeds(TRAIN, [[85.0]])), 0.5) == []
    assert statements(accuracy_curves(task_of(imp), SEARCH, 0.5), 0.5) == []
