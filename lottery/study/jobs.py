"""The jobs of a study: which script runs with which flags, on whose ticket, and where."""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.scripts import flag_names
from lottery.tickets.controls import is_maskless

TRAIN, CARRY, INIT, STABILITY = "main_train.py", "main_elastic.py", "main_init.py", "main_stability.py"
PRAC = "main_PrAC_imp.py"
SEARCHES = ("main_imp.py", PRAC)  # whose rounds leave the trained weights that they prune by
# By script, the flag for the directory of the PrAC run that a control follows.
FOLLOWING = {"main_imp.py": "steps_of", PRAC: "like_run"}
# What tables hold beside flags.
NO_FLAGS = {
    "methods": {"script"},
    "retrain": {"prunings", "controls", "rules", "dense"},
    "elastic": {"pairs", "controls"},
    "stability": {"prunings", "controls"},
}

Flags = dict[str, object]


@dataclass(frozen=True)
class Job:
    """One run of one script; with `after`, on the ticket that this other job makes, or following its run.

    A search makes a ticket after each of its prunings, and `prunings` says which; what makes one alone has none (None).
    A training may take the trained weights of a round instead of the ticket's own, those of round `trained`. A job that
    follows a run is given its directory, with the flag `follows`.
    """

    script: str
    flags: tuple[str, ...]  # as they are typed, without those below
    save_dir: Path
    after: "Job | None" = None
    prunings: int | None = None
    trained: int | None = None
    follows: str | None = None

    @property
    def words(self) -> list[str]:
        if self.after is None:
            return self.words_with(None)
        if self.follows:
            return self.words_with(self.after.save_dir)
        file_of = RunDirectory(self.after.save_dir).checkpoint
        return self.words_with(file_of(self.prunings), None if self.trained is None else file_of(self.trained))

    def words_with(self, needed: Path | None, weights: Path | None = None) -> list[str]:
        """The command's words, with the run in this directory, with the ticket in this file, or with its mask alone and
        its `weights` in another."""
        places = {self.follows: needed} if self.follows else {"init_dir": weights or needed, "mask_dir": needed}
        given = [word for flag, path in places.items() for word in (f"--{flag}", str(path))] if needed else []
        return [*self.flags, *given, "--save_dir", str(self.save_dir)]

    @property
    def needs(self) -> str:
        """What it needs of the job before it, in a word."""
        return "run" if self.follows else "ticket"

    @property
    def is_run(self) -> bool:
        """Whether it trains; what only makes a ticket, without a training, does not."""
        return self.script not in (CARRY, INIT)

    @property
    def needs_device(self) -> bool:
        return self.script != CARRY


@dataclass(frozen=True)
class Study:
    """All jobs, each after the one whose ticket it takes or whose run it follows, and where they lie."""

    save_dir: Path
    jobs: tuple[Job, ...]


def jobs_of(content: Mapping, folder: Path) -> list[Job]:
    """Of each point of the grid its dense training, its searches, and what is done with their tickets."""
    jobs: list[Job] = []
    retrain = content.get("retrain", {})
    for point in points(content.get("grid", {})):
        where = folder / place(point)
        if retrain.get("dense"):
            jobs.append(Job(TRAIN, words(training_flags(content, point)), where / "dense"))
        searches: dict[str, Job] = {}
        for name, method in sorted(content["methods"].items(), key=lambda item: followed(item[1]) is not None):
            given, other = words(search_flags(content, point, method)), searches.get(followed(method))
            follows = FOLLOWING[method["script"]] if other else None
            search = searches[name] = Job(method["script"], given, where / slug(name), other, follows=follows)
            jobs.append(search)
            for prunings in tickets(method, content):
                shared, ticket = training_flags(content, point), ticket_name(search, prunings)
                jobs += trainings(search, prunings, shared, where / ticket, controls_of("retrain", content, prunings))
                jobs += rule_trainings(search, prunings, content, point, where / ticket)
                jobs += carried_trainings(search, prunings, content, point, folder)
            jobs += stability_runs(search, content, point)
    return jobs


def followed(method: Mapping) -> str | None:
    """The method whose run this one follows, if any; of other scripts `like` is a flag like any other."""
    return method.get("like") if method["script"] in FOLLOWING else None


def search_flags(content: Mapping, point: Flags, method: Mapping) -> Flags:
    """Of a method at a point of the grid."""
    shared, own = content.get("common", {}) | point, flags_of("methods", method)
    if followed(method) is not None:
        own.pop("like")
    if method["script"] != INIT:
        return shared | content.get("search", {}) | own
    known = flag_names(INIT)
    return {name: value for name, value in shared.items() if name in known} | own


def tickets(method: Mapping, content: Mapping) -> list[int | None]:
    """Which tickets of a method are trained: those after so many prunings, or (None) its only one."""
    if method["script"] == INIT:
        return [None] if "retrain" in content else []
    return content.get("retrain", {}).get("prunings", [])


def training_flags(content: Mapping, point: Flags) -> Flags:
    """Of every training at a point of the grid."""
    return content.get("common", {}) | point | flags_of("retrain", content.get("retrain", {}))


def trainings(
    maker: Job, prunings: int | None, shared: Flags, save_dir: Path, controls: Iterable[str], script: str = TRAIN
) -> list[Job]:
    """Of the ticket that a job makes, after so many prunings if it is a search, and of its controls."""
    wanted = {"": shared} | {f"_{slug(control)}": shared | {"control": control} for control in controls}
    return [
        Job(script, words(given), save_dir.with_name(f"{save_dir.name}{ending}"), maker, prunings)
        for ending, given in wanted.items()
    ]


def controls_of(part: str, content: Mapping, prunings: int | None) -> list[str]:
    """The controls that this part asks for of the ticket after so many prunings: what is the same for all tickets of a
    search is trained once, with the first of them."""
    first = prunings is None or prunings == content["retrain"]["prunings"][0]
    return once(content[part].get("controls", []), first)


def once(controls: Iterable[str], first: bool) -> list[str]:
    """These controls, but those without a mask for the first ticket alone."""
    return [control for control in controls if first or not is_maskless(control)]


def rule_trainings(search: Job, prunings: int | None, content: Mapping, point: Flags, save_dir: Path) -> list[Job]:
    """Of a search's ticket after so many prunings, by each rule of [retrain], on the weights that it was pruned from;
    and of the dense network, if that is one of the controls, on its own trained weights. --rewind_lr is left out: it
    would be a rule."""
    if search.script not in SEARCHES:
        return []
    shared = training_flags(content, point) | {"rewind_lr": False}
    maskless = [name for name in controls_of("retrain", content, prunings) if is_maskless(name)]
    jobs: list[Job] = []
    for rule in content["retrain"].get("rules", []):
        given, where = shared | {"rule": rule}, save_dir.with_name(f"{save_dir.name}_{slug(rule)}")
        jobs.append(Job(TRAIN, words(given), where, search, prunings, trained=prunings - 1))
        for control in maskless:
            folder = where.with_name(f"{where.name}_{slug(control)}")
            jobs.append(Job(TRAIN, words(given | {"control": control}), folder, search, prunings, trained=0))
    return jobs


def stability_runs(search: Job, content: Mapping, point: Flags) -> list[Job]:
    """Of a search's tickets after so many prunings, and of their controls; of the dense network, which has no mask to
    make one of, alone."""
    if "stability" not in content:
        return []
    part, jobs = content["stability"], []
    shared = content.get("common", {}) | point | flags_of("stability", part)
    wanted = [None] if search.script == INIT else part.get("prunings", [])
    for prunings in wanted:
        where = search.save_dir.with_name(f"{ticket_name(search, prunings)}_stability")
        first = 0 not in wanted and prunings == wanted[0]  # the dense network is the control without a mask
        controls = [] if prunings == 0 else once(part.get("controls", []), first)
        jobs += trainings(search, prunings, shared, where, controls, STABILITY)
    return jobs


def ticket_name(search: Job, prunings: int | None) -> str:
    return f"{search.save_dir.name}_ticket" + ("" if prunings is None else f"_{prunings}")


def carried_trainings(search: Job, prunings: int | None, content: Mapping, point: Flags, folder: Path) -> list[Job]:
    """A search's ticket after so many prunings, carried to other networks of the grid, and trained there."""
    jobs: list[Job] = []
    for target in targets(content, point):
        there = point | {"arch": target}
        training, where = training_flags(content, there), folder / place(there)
        stem = {"stem": training["stem"]} if "stem" in training else {}
        given = {"source_arch": point["arch"], "target_arch": target} | stem | flags_of("elastic", content["elastic"])
        name = f"{ticket_name(search, prunings)}_from_{slug(str(point['arch']))}"
        carried = Job(CARRY, words(given), where / f"{name}_carried", search, prunings)
        controls = controls_of("elastic", content, prunings)
        jobs += [carried, *trainings(carried, None, training, where / name, controls)]
    return jobs


def targets(content: Mapping, point: Flags) -> list[str]:
    """The networks that tickets of this point's are carried to."""
    if "elastic" not in content:
        return []
    here, pairs = point["arch"], content["elastic"].get("pairs")
    return [arch for arch in content["grid"]["arch"] if arch != here and (pairs is None or [here, arch] in pairs)]


def flags_of(part: str, table: Mapping) -> Flags:
    """The flags in a table of this part, without what else it holds."""
    return {name: value for name, value in table.items() if name not in NO_FLAGS[part]}


def points(grid: Mapping) -> list[Flags]:
    """Every combination of the grid's values; with [[grid.cases]], each of these with all of them."""
    lists = {flag: values for flag, values in grid.items() if flag != "cases"}
    combinations = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    return [case | point for case in grid.get("cases", [{}]) for point in combinations]


def words(flags: Flags) -> tuple[str, ...]:
    """Flags as they are typed."""
    typed: list[str] = []
    for flag, value in flags.items():
        if value is not False:
            typed += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
    return tuple(typed)


def place(point: Flags) -> Path:
    """A folder for a point of the grid: seed_0, or cifar10/res20s/seed_0 where data set and network differ, too."""
    named = ("dataset", "arch")  # flags whose values speak for themselves
    return Path(
        *(slug(str(value) if flag in named else f"{flag}_{value}") for flag, value in point.items() if flag != "data")
    )


def slug(name: str) -> str:
    """A name as a folder may be called."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_")
