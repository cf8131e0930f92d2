"""Sort runs by task and method.

A task is a data set, its split and a network; accuracies of different tasks never share a curve. Runs of one method
differ in their seeds alone.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lottery.checkpointing.run_settings import with_values_before
from lottery.checkpointing.script_names import Script
from lottery.reports.comparison.grouping import (
    BY_SEED,
    NOT_METHOD,
    TASK,
    TRAINING_SETTINGS,
    Group,
    differing,
    grouped,
    name_groups_,
    shorten_names_,
)
from lottery.reports.comparison.method_names import search_name, start_name
from lottery.reports.comparison.repeats import first_of_each_, log_repeats
from lottery.reports.comparison.set_controls import set_control, set_control_name
from lottery.reports.document import file_stem
from lottery.results.runs import Log
from lottery.results.stability_runs import StabilityRun
from lottery.results.ticket_origins import alteration, control_kind, sample_key, search_settings, start_kind, transfers
from lottery.results.ticket_runs import FOREIGN, Run
from lottery.retraining.rules import RULES, takes_trained
from lottery.search.config import RATE, SET_SETTINGS, STEPS_OF
from lottery.search.pruning_plan import PruningPlan, prunes_alike
from lottery.tickets.starting_weights import DENSE as GIVEN_WEIGHTS
from lottery.tickets.starting_weights import STARTS
from models.user_code import short_name

PLAN = ("rate", "densities")  # compared by the counts that they come to
SEARCH, TICKETS, DENSE = "search", "tickets", "dense"  # kinds of methods
UNKNOWN = "tickets of unknown origin"
REPEATED_TRAINING = "the method, seed and ticket"


@dataclass(eq=False)
class Method:
    """Runs that differ in their seeds alone.

    `search` is the name of the search, also for its retrained tickets; altered tickets (controls, tickets trained by a
    rule, elastic tickets) have a `search` of their own. `base` is the `search` of what this is a control of. In names a
    folder's name or a letter stands for many settings, "IMP (short rounds)", "IMP (a)".
    """

    kind: str  # SEARCH, TICKETS or DENSE
    name: str
    search: str
    runs: list[Run]
    base: str | None = None
    key: dict[str, str] = field(default_factory=dict)  # what short names within its name stand for

    @property
    def settings(self) -> Mapping:
        return self.runs[0].settings

    @property
    def search_settings(self) -> Mapping:
        """The settings of the search that made the tickets; empty if unknown."""
        return search_settings(self.runs[0]) or {}

    @property
    def is_imp(self) -> bool:
        """Whether it is iterative magnitude pruning on all the data, or its tickets: the reference for other methods.

        For rules that train on from trained weights, the reference are tickets of IMP trained by the same rule.
        """
        plain = self.search_settings and not alteration(self.runs[0], rule=self.continuing_rule is None)
        return bool(plain) and search_name(self.search_settings) in ("IMP", f"{FOREIGN}, IMP")

    @property
    def thoroughness(self) -> tuple[float, float]:
        """Orders searches of IMP by how much they train before a ticket: the epochs of a round, then how small a share
        of the weights each pruning takes. The most thorough one is the reference for the others."""
        settings = self.search_settings
        share = PruningPlan.from_settings(settings, RATE).largest_share
        return settings.get("epochs", 0), -share

    @property
    def is_altered(self) -> bool:
        """Whether its tickets are not as their search left them, or were trained by a rule."""
        return bool(alteration(self.runs[0]))

    @property
    def is_elastic(self) -> bool:
        """Whether its tickets come from another network; their densities differ a little from seed to seed."""
        return bool(transfers(self.runs[0]))

    @property
    def control(self) -> str | None:
        """The control (lottery/tickets/controls.py) that its tickets are."""
        return control_kind(self.runs[0])

    @property
    def set_control(self) -> str | None:
        """The key in `SET_CONTROLS` of the control for PrAC sets that its search is; None if it is none."""
        return set_control(self.search_settings)

    @property
    def continuing_rule(self) -> str | None:
        """The rule by which trained weights were trained further, which takes more steps in all than retraining from
        rewound weights; None for any other rule."""
        rule = self.settings.get("rule")
        return rule if rule in RULES and takes_trained(rule) else None

    @property
    def continues(self) -> bool:
        """Whether these are the networks of a search that never rewinds them: those of round k have been trained for
        k + 1 rounds. Its tickets are rewound, and trained as any other."""
        return self.kind == SEARCH and self.settings.get("between") == "continue"

    @property
    def search_without_rule(self) -> str:
        """Its `search`, without the rule that its tickets were trained by."""
        rule = self.settings.get("rule")
        return self.search.removesuffix(f", {RULES[rule].name}") if rule in RULES else self.search

    def is_rewinding_of(self, other: "Method") -> bool:
        """Whether it trained the same tickets as the other method, which has another rule, by weight rewinding."""
        return (
            self.settings.get("rule") == "weight_rewinding"
            and self.base == other.base
            and self.search_without_rule == other.search_without_rule
        )

    def is_followed_by(self, other: "Method") -> bool:
        """Whether the other method, a control for PrAC sets, may follow this one's runs and was otherwise the same."""
        mine, its = self.search_settings, other.search_settings
        if mine.get("script") != Script.PRAC_IMP or set_control(mine) or not self.same_recipe(other):
            return False
        if mine.get("between", "rewind") != its.get("between", "rewind"):
            return False
        if set_control(its) == STEPS_OF:
            matches = self.kind != SEARCH or self.took_steps_recorded_by(other)
        else:
            matches = not differing(mine, its, SET_SETTINGS)
        return matches and alteration(self.runs[0]) == alteration(other.runs[0])

    def took_steps_recorded_by(self, other: "Method") -> bool:
        """Whether its rounds took the optimiser steps that the other method's settings record of the run it follows."""
        followed = {run.seed: run.settings for run in other.runs}
        steps = [
            (row.get("steps"), followed[run.seed].get(f"{STEPS_OF}, round {row['round']}"))
            for run in self.runs
            if run.seed in followed
            for row in run.rounds
        ]
        return all(taken == recorded for taken, recorded in steps if recorded is not None)

    def same_recipe(self, other: "Method") -> bool:
        """Whether networks are trained alike, and began with the same pre-trained weights or with drawn ones."""
        same_start = self.pretrained == other.pretrained
        return same_start and not differing(self.settings, other.settings, TRAINING_SETTINGS)

    @property
    def pretrained(self) -> str | None:
        """The checksum of the pre-trained weights (--weights) that its networks, or its search's, began with."""
        return (self.search_settings or self.settings).get("weights checksum")


@dataclass
class Task:
    """One data set, split and network, and the methods that were tried on it."""

    name: str
    methods: list[Method]

    @property
    def stem(self) -> str:
        """Its name as part of the names of files: "digits_res20s"."""
        return file_stem(self.name)

    def by_kind(self, kind: str) -> list[Method]:
        return [method for method in self.methods if method.kind == kind]

    @property
    def search_names(self) -> list[str]:
        """Names of the searches in the order of their colours; those of altered tickets come last."""
        names = {method.search: method.is_altered for method in self.methods if method.kind != DENSE}
        return sorted(names, key=lambda name: (names[name], not name.split(" (")[0].endswith("IMP"), "random" in name))

    def sort_methods_(self) -> None:
        """Sort the methods by search, in the order of the searches' colours; the dense network comes last."""
        order = [*self.search_names, "dense network"]
        self.methods.sort(key=lambda method: order.index(method.search))


def group_by_task(runs: Sequence[Run], log: Log) -> list[Task]:
    """The runs sorted by task and method; runs that repeat another are left out and logged."""
    groups = grouped(runs, lambda run: run.settings, lambda a, b: not differing(a, b, TASK) and _same_code(a, b))
    name_groups_(groups, task_name, TASK)
    if len(groups) > 1:
        names = "; ".join(group.name for group in groups)
        log(f"The runs are of {len(groups)} tasks, which share no figure: {names}.")
    tasks = [Task(group.name, task_methods(group.items)) for group in groups]
    for task in tasks:
        task.sort_methods_()
    log_repeats([run for run in runs if run.is_search], "the method and seed", log)
    log_repeats([run for run in runs if not run.is_search], REPEATED_TRAINING, log)
    return tasks


def _same_code(a: Mapping, b: Mapping) -> bool:
    """The 2021 code does not record what its runs were made on: they are compared among themselves only."""
    return (a["script"] == FOREIGN) == (b["script"] == FOREIGN)


def task_name(settings: Mapping) -> str:
    if settings["script"] == FOREIGN:
        return "2021 code's runs, on unknown data"
    return f"{short_name(settings['dataset'])}, {short_name(settings['arch'])}"


def task_methods(runs: Sequence[Run]) -> list[Method]:
    """The methods of one task."""
    searches = grouped(sorted(filter(search_settings, runs), key=_naming_order), search_settings, same_method)
    name_groups_(searches, search_name)
    key = shorten_names_(searches, lambda run: run.path if run.is_search else None)
    methods = []
    for search in searches:
        own = [run for run in search.items if run.is_search]
        if own:
            methods.append(Method(SEARCH, search.name, search.name, without_repeats_(own)))
        methods += training_methods([run for run in search.items if not run.is_search], TICKETS, search.name)
    unknown = [run for run in runs if not run.is_search and search_settings(run) is None]
    dense = [run for run in unknown if is_dense(run)]
    methods += training_methods(dense, DENSE, "dense network")
    methods += training_methods([run for run in unknown if run not in dense], TICKETS, UNKNOWN)
    for method in methods:
        method.key |= {name: what for name, what in key.items() if method.search.startswith(name)}
    return methods


def _naming_order(run: Run) -> int:
    """The first run of a method names it: one by --rate if there is any, otherwise one of most densities."""
    densities = (search_settings(run) or {}).get("densities")
    return -len(densities) if densities else -sys.maxsize


def is_dense(run: Run | StabilityRun) -> bool:
    """Whether a training was given nothing: the dense network from weights of its own."""
    return run.ticket is None and run.density == 1 and start_kind(run) != GIVEN_WEIGHTS


def training_methods(runs: Sequence[Run], kind: str, search: str) -> list[Method]:
    """Trainings of the tickets of one search, or of the dense network, by how the tickets were altered and by their
    training settings."""
    methods = []
    for altered in dict.fromkeys(map(alteration, runs)):
        name = f"{search}{altered}"
        groups = groups_by_method([run for run in runs if alteration(run) == altered], name)
        key = shorten_names_(groups)
        for group in groups:
            own, its = without_repeats_(group.items), {group.name: key[group.name]} if group.name in key else {}
            methods.append(Method(kind, group.name, name, own, base_search(own[0], search), its))
    return methods


def groups_by_method(runs: Sequence[Run], name: str) -> list[Group]:
    """The runs by training settings; each group's name begins with `name`."""
    groups = grouped(runs, lambda run: run.settings, same_method)
    name_groups_(groups, lambda settings: name)
    return groups


def base_search(run: Run, search: str) -> str | None:
    """The `search` of what the training of a ticket of this search is a control of; None if it is no control, or if
    its weights and mask are of unknown origin, so that there is nothing to compare it with."""
    is_control = run.settings.get("control") or (search != UNKNOWN and STARTS[start_kind(run)].name)
    return f"{search}{alteration(run, control=False)}" if is_control else None


def without_repeats_(runs: Sequence) -> list:
    """One run of each seed and ticket, of searches the one with most rounds; the others are marked."""
    chosen = first_of_each_(sorted(runs, key=lambda run: -len(run.rounds) if run.is_search else 0), sample_key)
    return [run for run in runs if run in chosen]


def same_method(a: Mapping, b: Mapping) -> bool:
    """Whether settings are equal but for the seed. Rate and densities may differ if they come to the same counts. Each
    seed may have been given sets, or a run to follow, of its own; runs of one seed must have the same. A setting that
    came later counts as what was done before there was one."""
    a, b = with_values_before(a), with_values_before(b)
    names = [name for name in a if name not in {*NOT_METHOD, *PLAN} and not name.startswith(BY_SEED)]
    own = [name for name in a if name.startswith(BY_SEED)] if a.get("seed") == b.get("seed") else []
    return (
        start_name(a) == start_name(b)
        and set_control_name(a) == set_control_name(b)
        and prunes_alike(a, b)
        and not differing(a, b, names + own)
    )
