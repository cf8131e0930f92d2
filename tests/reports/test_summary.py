"""The first screen of a report: its line, its table, its figures, from runs made by hand."""

from pathlib import Path

from lottery.reports import style
from lottery.reports.chapters.accuracy_figures import accuracy_axis
from lottery.reports.chapters.summary import compared, headline_table, summary_parts
from lottery.reports.comparison.accuracy import accuracy_curves
from lottery.reports.comparison.methods import SEARCH, TICKETS, group_by_task
from lottery.reports.document import Beside, Folded, Table, unfolded
from lottery.reports.style import canvas
from lottery.results.ticket_runs import FOREIGN
from tests.helpers import IMP, PRAC, TRAIN, control, deep, elastic_ticket, init_ticket, logged, made, retrained, seeds


def task_of(runs):
    (task,), _ = logged(group_by_task, runs)
    return task


def searches_and_tickets(count=5):
    """IMP and PrAC, of two prunings each, and their tickets; PrAC's searches take 2 steps in place of IMP's 8."""
    runs = []
    for seed in range(count):
        for settings, lower, steps in ((IMP, 0.0, 8), (PRAC, 0.2, 2)):
            search = made("runs", settings, [90, 90], seed)
            search.rounds = [row | {"steps": steps} for row in search.rounds]
            runs.append(search)
            runs += [retrained(settings, k, 90 + seed - lower - 0.1 * (seed % 2), seed, seed) for k in (1, 2)]
    return runs + seeds(TRAIN, [[91.0]] * count)


def test_one_line_says_what_was_compared():
    task = task_of(searches_and_tickets())
    assert compared(task) == f"{task.name}, 2 methods, seeds 0 to 4, 35 runs."
    runs = [retrained(IMP, 1, 90.0), control(IMP, "reinit", 1, 88.0, 0)]
    assert compared(task_of(runs)).endswith(", 1 method, 1 control or altered ticket, seed 0, 2 runs.")


def test_what_has_no_ticket_has_a_line_too():
    """The dense network alone; nothing is said of methods that are not there."""
    parts = summary_parts(task_of(seeds(TRAIN, [[91.0], [92.0]])), 0.5)
    assert [part.text for part in parts] == [
        "digits, tiny, the dense network, seeds 0 and 1, 2 runs.",
        "Dense network: 91.50 ± 0.71 (2 seeds).",
    ]
    alone = headline_table_of([control(IMP, "reinit", 1, 88.0, 0)])
    assert [column.heading for column in alone.columns] == ["method", "seeds", "test (%) at 50 % of the weights"]


def headline_table_of(runs):
    task = task_of(runs)
    return headline_table(task, TICKETS, accuracy_curves(task, TICKETS, 0.5))


def test_an_axis_leaves_out_lines_that_fall_far_below_the_others():
    """Not those of a few points, however close the others are to each other."""
    _, (axes,) = canvas()
    assert accuracy_axis(axes, {"a": [90, 89.9], "b": [90, 89.8], "c": [90, 85]}) == ""
    words = accuracy_axis(axes, {"a": [90, 88], "b": [90, 87], "c": [89, 40.5]})
    assert words == " The axis ends above points of c, the lowest of which is at 40.50 %."
    assert axes.get_ylim()[0] > 85


def test_an_axis_that_leaves_out_a_line_shows_the_dense_network(monkeypatch):
    """It lies three points above all tickets, those of random pruning thirty below the others."""
    drawn = []
    monkeypatch.setitem(style.FORMATS, "png", lambda figure, _: drawn.append(figure.axes[0]))
    runs = seeds(TRAIN, [[98.0]])
    for settings, test in ((IMP, 95.0), (PRAC, 94.9), (IMP | {"random_prune": True}, 60.0)):
        runs += [made("runs", settings, [98.0, test]), retrained(settings, 1, test)]
    parts = summary_parts(task_of(runs), 0.5)
    assert len(drawn) == 2 and sum("The axis ends" in getattr(part, "caption", "") for part in unfolded(parts)) == 2
    assert all(low > 80 and high > 98 for low, high in (axes.get_ylim() for axes in drawn))


def test_the_table_has_accuracies_differences_and_costs():
    task = task_of(searches_and_tickets())
    table = headline_table(task, TICKETS, accuracy_curves(task, TICKETS, 0.5))
    assert [column.heading for column in table.columns] == [
        "method",
        "seeds",
        "test (%) at 50 % of the weights",
        "test (%) at 25 % of the weights",
        "steps to find the 25 %",
        "to find and train it",
    ]
    imp, prac = table.rows
    trained = retrained(IMP, 2, 90.0).rounds[0]["steps"]
    assert imp[:3] == ["IMP", 5, "91.96 ± 1.58"] and imp[4:] == ["16", f"{16 + trained}"]
    assert prac[:2] == ["PrAC", 5] and prac[3] == "91.76 ± 1.58\n−0.20 [−0.20, −0.20]"
    assert prac[4:] == ["4\n75.0 % saved", f"{4 + trained}\n{100 * 12 / (16 + trained):.1f} % saved"]
    assert "Dense network: 91.00 ± 0.00 (5 seeds)." in table.caption


def test_the_table_says_how_many_seeds_its_means_are_over():
    """Five seeds at a half of the weights, two at a quarter; of the other method five everywhere."""
    runs = searches_and_tickets()
    lacking = [run for run in runs if run.ticket and run.density == 0.25 and run.seed > 1][::2]
    task = task_of([run for run in runs if run not in lacking])
    table = headline_table(task, TICKETS, accuracy_curves(task, TICKETS, 0.5))
    assert [row[1] for row in table.rows] == ["2 to 5", 5]
    assert "mean and standard deviation over seeds." in table.caption
    (figure,) = [part for part in unfolded(summary_parts(task, 0.5)) if "vs_weights" in getattr(part, "name", "")]
    words = figure.files.svg.decode()
    assert "IMP (2 to 5 seeds)" in words and "PrAC (5 seeds)" in words


def test_steps_are_means_over_the_seeds_whose_tickets_were_trained():
    """Of three searches the third took other steps, and its ticket is not trained yet; the fourth has one round."""
    runs = [made("runs", IMP, [90, 90][: 2 - seed // 3], seed) for seed in range(4)]
    runs[2].rounds = [row | {"steps": 80} for row in runs[2].rounds]
    runs += [retrained(IMP, 2, 90.0, seed, seed) for seed in (0, 1)]
    ((_, number, _, found, trained),) = headline_table_of(runs).rows
    assert (number, found, trained) == (2, "16", "24")
    with_one_search = [*runs[:1], *(retrained(IMP, 2, 90.0, seed, 0) for seed in (5, 6))]
    assert headline_table_of(with_one_search).rows[0][3] == "16", "the seeds 5 and 6 are those of the trainings"


def test_the_table_shows_densities_that_most_methods_have():
    """SNIP and IMP share a quarter of the weights; each has two densities of its own."""
    runs = [retrained(IMP, k, 90.0, seed, seed) for k in (1, 2, 4) for seed in (0, 1)]
    runs += [init_ticket(88.0, seed, kept) for kept in (40, 16, 8) for seed in (0, 1)]
    heads = [column.heading for column in headline_table_of(runs).columns]
    more = ["steps to find the 25 %", "to find and train it"]  # of SNIP, which is found before training
    assert heads == ["method", "seeds", "test (%) at 25 % of the weights", *more]


def test_seeds_are_named_in_their_order_if_they_are_known():
    runs = [retrained(IMP, 1, 90.0, seed, seed) for seed in (10, 2, 5)]
    assert compared(task_of(runs)).endswith(", seeds 2, 5 and 10, 3 runs.")
    foreign = made("runs", {"script": FOREIGN, "searches": True, "sets": False, "network": "n"}, [90.0])
    del foreign.settings["seed"]
    assert compared(task_of([foreign])).endswith(", 1 method, 1 run.")


def test_dense_networks_of_several_recipes_are_named_by_the_table():
    runs = []
    for recipe, test in (({"optimizer": "SGD"}, 91.0), ({"optimizer": "Adam"}, 80.0)):
        for found in (retrained(IMP, 1, 90.0), made("runs", TRAIN, [test])):
            found.settings = found.settings | recipe
            runs.append(found)
    caption = headline_table_of(runs).caption
    assert "Dense network (optimizer SGD): 91.00 (1 seed). Dense network (optimizer Adam): 80.00 (1 seed)." in caption


def test_steps_of_other_batches_or_recipes_save_nothing():
    """Tickets of a search in larger batches, and some that were trained for longer, beside IMP's."""
    runs = [made("runs", IMP, [90, 90]), retrained(IMP, 1, 90.0)]
    large = PRAC | {"batch_size": 16}
    runs += [made("runs", large, [90, 90]), retrained(large, 1, 89.0), made("runs", PRAC, [90, 90])]
    runs += [retrained(PRAC, 1, 88.0, 0, 0)]
    runs[-1].settings = runs[-1].settings | {"epochs": 8}
    for run in runs[2:]:
        run.rounds = [row | {"steps": 2} for row in run.rounds]
    imp, *others = headline_table_of(runs).rows
    assert imp[-1] == "16" and [row[-1] for row in others] == ["4", "4"]


def test_without_retrained_tickets_the_networks_of_the_searches_are_shown():
    task = task_of(seeds(IMP, [[90.0, 89.0, 88.0]] * 2))
    table = headline_table(task, SEARCH, accuracy_curves(task, SEARCH, 0.5))
    assert len(table.columns) == 5 and table.rows[0][2:4] == ["89.00 ± 0.00", "88.00 ± 0.00"]


def test_controls_are_left_out_where_there_are_many_rows():
    kinds = ("reinit", "random_mask", "one_shot")
    few = searches_and_tickets(2) + [control(IMP, kind, 1, 88.0, 0) for kind in kinds]
    many = few + [control(PRAC, kind, 1, 87.0, 0) for kind in (*kinds, "dense")]
    for runs, rows in ((few, 5), (many, 2)):
        task = task_of(runs)
        table = headline_table(task, TICKETS, accuracy_curves(task, TICKETS, 0.5))
        assert len(table.rows) == rows and ("chapters below" in table.caption) == (rows == 2)


def test_elastic_tickets_have_a_row_if_there_is_something_in_it():
    """Beside IMP's ticket with a quarter of the weights one with as many, then one with a fifth."""
    for density, rows in ((0.25, 2), (0.2, 1)):
        table = headline_table_of([deep(2, 95.0), elastic_ticket(IMP, density, 90.0)])
        assert len(table.rows) == rows and ("chapters below" in table.caption) == (rows == 1)


def named_by_folders(*folders):
    """The names of two methods that differ in many settings, whose runs of two seeds lie in these folders."""
    adam = {"optimizer": "adam", "schedule": "cosine", "label_smoothing": 0.1, "warmup": 3, "lr": 0.001}
    sgd = {"optimizer": "sgd", "schedule": "step", "label_smoothing": 0.0, "warmup": 0, "lr": 0.1}
    runs = [run for recipe in (sgd, adam) for run in seeds(IMP | recipe, [[90.0, 89.0]] * 2)]
    for run, folder in zip(runs, folders, strict=True):
        run.path = Path(folder)
    return [method.name for method in task_of(runs).methods]


def test_long_names_are_those_of_the_folders_that_the_user_gave():
    by_method = named_by_folders("s/seed_0/IMP", "s/seed_1/IMP", "s/seed_0/IMP_with_Adam", "s/seed_1/IMP_with_Adam")
    assert by_method == ["IMP", "IMP (with Adam)"]
    by_seed = named_by_folders("plain/0", "plain/1", "the_other/0", "the_other/1")
    assert by_seed == ["IMP (plain)", "IMP (the other)"]
    assert named_by_folders("a", "b", "c", "d") == ["IMP (a)", "IMP (b)"], "letters, that no folder stands for"
    long = f"{50 * 'x'}/0"
    assert named_by_folders("plain/0", "plain/1", long, long) == ["IMP (a)", "IMP (b)"]


def test_long_names_are_shortened_and_explained():
    """Searches that differ in many settings have a letter each, in every part; the key is beside the table."""
    adam = {"optimizer": "adam", "schedule": "cosine", "label_smoothing": 0.1, "warmup": 3, "lr": 0.001}
    sgd = {"optimizer": "sgd", "schedule": "step", "label_smoothing": 0.0, "warmup": 0, "lr": 0.1}
    runs = [run for recipe in (sgd, adam) for run in seeds(IMP | recipe, [[90.0, 89.0]] * 2)]
    runs += [retrained(IMP | sgd, 1, 90.0)]
    runs[-1].settings = runs[-1].settings | sgd
    task = task_of(runs)
    assert {method.name for method in task.methods} == {"IMP (a)", "IMP (b)"}
    parts = summary_parts(task, 0.5)
    assert [type(part) for part in parts[1:4]] == [Table, Folded, Beside]
    assert [item.split(":")[0] for item in parts[2].parts[0].items] == ["IMP (a)", "IMP (b)"]
    assert "optimizer adam" in parts[2].parts[0].items[1]
