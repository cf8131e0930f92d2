"""Which runs are the same method on the same task, and what a method is called.

A task is a data set, its split and a network: accuracies of different tasks share no curve. A method is what decides
results beside the seed. As where a run goes on, a setting that only one of two runs knows is no difference, unless it
is known what was done before there was one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lottery.checkpointing.run_settings import VALUES_BEFORE
from lottery.reports.comparison.method_names import beginning, describe, members, set_control
from lottery.results.runs import FOREIGN, Run
from lottery.results.stability_runs import StabilityRun
from lottery.results.ticket_origins import alteration, carryings, control, sample, search_settings, start
from lottery.retraining.rules import RULES, takes_trained
from lottery.search.reference_run import MADE, STEPS_OF
from lottery.tickets.starting_weights import DENSE as GIVEN_WEIGHTS
from lottery.tickets.starting_weights import STARTS

TASK = ("dataset", "data checksum", "split checksum", "arch", "stem", "image_size", "network")
RECIPE = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "warmup", "decreasing_lr", "precision")
NOT_METHOD = {*TASK, "seed", "order_seed", "pruning_times", "ticket checksum", "init_dir", "mask_dir"}
NOT_METHOD |= {"control", "ticket start"}  # which the alteration of a ticket tells
# How far a ticket found at once was pruned.
NOT_METHOD |= {"density", "sparsity", "like", "allow_empty_layers", "kept", "prunable"}
# How the settings call what is another for each seed: the checksum of a given set, the round of a run that is followed.
BY_SEED = ("PrAC set of round", "like_run, round", "steps_of, round")

SEARCH, TICKETS, DENSE = "search", "tickets", "dense"
UNKNOWN = "tickets of unknown origin"


@dataclass(eq=False)
class Method:
    """Runs that differ in their seeds alone. `search` is the name of the search, its tickets' one as well; tickets that
    were altered, as controls, by a rule or by carrying them here from another network, go by one of their own.
    `control_of` is the `search` of what it is a control of, if it is one."""

    kind: str
    name: str
    search: str
    runs: list[Run]
    control_of: str | None = None

    @property
    def settings(self) -> Mapping:
        return self.runs[0].settings

    @property
    def is_imp(self) -> bool:
        """Whether it is iterative magnitude pruning on all the data, the yardstick, or trains its tickets: those of the
        same rule are the yardstick of a rule that trains on from trained weights."""
        settings = search_settings(self.runs[0])
        plain = settings is not None and not alteration(self.runs[0], rule=self.further is None)
        return plain and describe(settings) in ("IMP", f"{FOREIGN}, IMP")

    @property
    def searches(self) -> bool:
        return self.kind == SEARCH

    @property
    def is_altered(self) -> bool:
        """Whether its tickets are not as their search left them, or were trained by a rule."""
        return bool(alteration(self.runs[0]))

    @property
    def control(self) -> str | None:
        """The control (controls.py) that its tickets are, or amount to."""
        return control(self.runs[0])

    @property
    def further(self) -> str | None:
        """The rule by which trained weights were trained on, for more steps in all than any other ticket; else None."""
        rule = self.settings.get("rule")
        return rule if rule in RULES and takes_trained(rule) else None

    @property
    def set_control(self) -> str | None:
        """What its search trained on in place of the sets of the PrAC run that it follows: a value of --members, or
        "steps_of" for all the data; None if it follows none."""
        return set_control(search_settings(self.runs[0]) or {})

    def rewinds(self, other: "Method") -> bool:
        """Whether it is the other one, which a rule trained, with weight rewinding as the rule."""
        return (
            self.settings.get("rule") == "weight_rewinding"
            and self.control_of == other.control_of
            and self.found_as == other.found_as
        )

    @property
    def found_as(self) -> str:
        """Its `search`, whatever rule its tickets were trained by."""
        rule = self.settings.get("rule")
        return self.search.removesuffix(f", {RULES[rule].name}") if rule in RULES else self.search

    def leads(self, other: "Method") -> bool:
        """Whether the other one, a control for PrAC sets, may follow this one's runs and was treated alike."""
        mine, its = (search_settings(method.runs[0]) or {} for method in (self, other))
        if mine.get("script") != "main_PrAC_imp.py" or set_control(mine) or not self.same_recipe(other):
            return False
        if set_control(its) == STEPS_OF:
            alike = not self.searches or self.took_steps_of(other)
        else:
            alike = not differing(mine, its, MADE)
        return alike and alteration(self.runs[0]) == alteration(other.runs[0])

    def took_steps_of(self, other: "Method") -> bool:
        """Whether its rounds took the optimiser steps that the other one, by its settings, was to follow."""
        followed = {run.seed: run.settings for run in other.runs}
        told = [
            (row.get("steps"), followed[run.seed].get(f"{STEPS_OF}, round {row['round']}"))
            for run in self.runs
            if run.seed in followed
            for row in run.rounds
        ]
        return all(steps == known for steps, known in told if known is not None)

    @property
    def is_carried(self) -> bool:
        """Whether its tickets come from another network; their densities differ a little from seed to seed."""
        return bool(carryings(self.runs[0]))

    def same_recipe(self, other: "Method") -> bool:
        return not differing(self.settings, other.settings, RECIPE)


@dataclass
class Task:
    """One data set, split and network, and all that was tried on it."""

    name: str
    methods: list[Method]

    def of(self, kind: str) -> list[Method]:
        return [method for method in self.methods if method.kind == kind]

    @property
    def searches(self) -> list[str]:
        """Names of the searches, in the order of their colours; those of altered tickets last."""
        names = {method.search: method.is_altered for method in self.methods if method.kind != DENSE}
        return sorted(names, key=lambda name: (names[name], not name.split(" (")[0].endswith("IMP"), "random" in name))


@dataclass
class Group:
    """Items that go together, by the settings of the first of them."""

    settings: Mapping
    items: list = field(default_factory=list)
    name: str = ""


def tasks_of(runs: Sequence[Run]) -> tuple[list[Task], list[str]]:
    """The runs sorted by task and method, and what there is to say about them."""
    groups = grouped(runs, lambda run: run.settings, lambda a, b: not differing(a, b, TASK) and _alike(a, b))
    name_groups(groups, task_name, TASK)
    notes = []
    if len(groups) > 1:
        names = "; ".join(group.name for group in groups)
        notes.append(f"The runs are of {len(groups)} tasks, which share no figure: {names}.")
    tasks = [Task(group.name, methods_of(group.items, notes)) for group in groups]
    for task in tasks:
        order = [*task.searches, "dense network"]
        task.methods.sort(key=lambda method, order=order: order.index(method.search))
    return tasks, notes


def _alike(a: Mapping, b: Mapping) -> bool:
    """The 2021 code's directories do not say what they were made on: they are compared among themselves only."""
    return (a["script"] == FOREIGN) == (b["script"] == FOREIGN)


def task_name(settings: Mapping) -> str:
    if settings["script"] == FOREIGN:
        return "2021 code's runs, on unknown data"
    return f"{settings['dataset']}, {settings['arch']}"


def methods_of(runs: Sequence[Run], notes: list[str]) -> list[Method]:
    """The methods of one task; a second run of the same method and seed is left out and noted."""
    searches = grouped(filter(search_settings, runs), search_settings, same_method)
    name_groups(searches, describe, ())
    methods = []
    for search in searches:
        own = [run for run in search.items if run.searches]
        if own:
            methods.append(Method(SEARCH, search.name, search.name, without_copies(own, notes)))
        methods += trainings([run for run in search.items if not run.searches], TICKETS, search.name, notes)
    lost = [run for run in runs if not run.searches and search_settings(run) is None]
    dense = [run for run in lost if is_dense(run)]
    methods += trainings(dense, DENSE, "dense network", notes)
    methods += trainings([run for run in lost if run not in dense], TICKETS, UNKNOWN, notes)
    return methods


def is_dense(run: Run | StabilityRun) -> bool:
    """Whether a training was given nothing: the dense network from weights of its own."""
    return run.ticket is None and run.density == 1 and start(run) != GIVEN_WEIGHTS


def trainings(runs: Sequence[Run], kind: str, search: str, notes: list[str]) -> list[Method]:
    """Trainings of the tickets of one search, or of the dense network, by what was done with these tickets and by the
    way they were trained; each once."""
    methods = []
    for altered in dict.fromkeys(map(alteration, runs)):
        name = f"{search}{altered}"
        groups = grouped([run for run in runs if alteration(run) == altered], lambda run: run.settings, same_method)
        name_groups(groups, lambda settings, name=name: name, ())
        for group in groups:
            own = without_copies(group.items, notes)
            methods.append(Method(kind, group.name, name, own, control_of(own[0], search)))
    return methods


def control_of(run: Run, search: str) -> str | None:
    """What the training of a ticket of this search is a control of; None if it is none, also for weights or a mask of
    unknown origin, which have nothing to be compared with."""
    asked = run.settings.get("control")
    is_one = asked or (search != UNKNOWN and STARTS[start(run)].name)
    return f"{search}{alteration(run, control=False)}" if is_one else None


def without_copies(runs: Sequence, notes: list[str]) -> list:
    """One run of each seed and ticket, of searches the one with most rounds; where there are more, that is noted."""
    chosen: dict = {}
    for run in sorted(runs, key=lambda run: -len(run.rounds) if run.searches else 0):
        first = chosen.setdefault(sample(run), run)
        if first is not run:
            what = "method and seed" if run.searches else "method, seed and ticket"
            notes.append(f"{run.name} repeats the {what} of {first.name}, which alone is counted.")
    return [run for run in runs if chosen[sample(run)] is run]


# --- the same and different -------------------------------------------------------------------------------------------


def differing(a: Mapping, b: Mapping, names: Iterable[str]) -> list[str]:
    """Those of these settings that both know and that are not the same."""
    return [name for name in names if name in a and name in b and a[name] != b[name]]


def same_method(a: Mapping, b: Mapping) -> bool:
    """Equal settings, the seed aside. Each seed may have been given sets, or a run to follow, of its own; one seed has
    one."""
    a, b = VALUES_BEFORE | dict(a), VALUES_BEFORE | dict(b)
    names = [name for name in a if name not in NOT_METHOD and not name.startswith(BY_SEED)]
    own = [name for name in a if name.startswith(BY_SEED)] if a.get("seed") == b.get("seed") else []
    return beginning(a) == beginning(b) and members(a) == members(b) and not differing(a, b, names + own)


def grouped(items: Iterable, settings_of: Callable, same: Callable[[Mapping, Mapping], bool]) -> list[Group]:
    """Each item joins the first group all of whose items are the same as it, or begins one."""
    groups: list[Group] = []
    for item in items:
        mine = settings_of(item)
        fitting = (group for group in groups if all(same(settings_of(other), mine) for other in group.items))
        group = next(fitting, None)
        if group is None:
            groups.append(group := Group(mine))
        group.items.append(item)
    return groups


# --- names ------------------------------------------------------------------------------------------------------------


def name_groups(groups: Sequence[Group], checkpoint_name: Callable[[Mapping], str], always: Iterable[str]) -> None:
    """Give each group a name that no other one has: where two would have the same, the settings that differ follow."""
    plain = [checkpoint_name(group.settings) for group in groups]
    for group, name in zip(groups, plain, strict=True):
        rivals = [
            other.settings for other, its in zip(groups, plain, strict=True) if its == name and other is not group
        ]
        names = dict.fromkeys(
            setting
            for rival in rivals
            for setting in differing(group.settings, rival, list(always) or _deciding(group.settings))
        )
        apart = ", ".join(f"{setting} {_shown(group.settings[setting])}" for setting in names)
        group.name = f"{name} ({apart})" if apart else name
    for name, times in Counter(group.name for group in groups).items():
        for number, group in enumerate([group for group in groups if group.name == name] if times > 1 else [], 1):
            group.name = f"{name} [{number}]"


def _deciding(settings: Mapping) -> list[str]:
    return [name for name in settings if name not in NOT_METHOD]


def _shown(value: object) -> str:
    """A setting's value, in a word; the shapes of a network are too long for one."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else "another"
