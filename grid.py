"""A study: which runs it is made of, read from a TOML file.

    [common]    flags of every run
    [grid]      flags with lists of values: every combination is run; [[grid.cases]]: flags that belong together
    [search]    flags of every search
    [methods.NAME]  script = "main_imp.py", "main_PrAC_imp.py", "main_greedy.py" or "main_channels.py", and its flags;
                or script = "main_init.py", which makes one ticket, to be trained if there is [retrain]; it takes of
                [common] and [grid] the flags that it knows, and none of [search]; like = "NAME": a control that follows
                the run of this method of main_PrAC_imp.py at the same point of the grid (--like_run, --steps_of)
    [retrain]   prunings = [...]: the tickets to train again; controls = [...]: each of these also with these values of
                --control (dense, which is the same for all tickets of a search, with the first); rules = [...]: those
                of searches also with these values of --rule, on the trained weights that they were pruned from;
                dense = true: the whole network, too; and flags of all these trainings
    [elastic]   flags of main_elastic.py: the same tickets are also carried to every other arch of [grid], those of the
                same seed and case, and trained there; pairs = [["mlp2", "mlp3"], ...]: only from these to those;
                controls = [...]: each carried ticket also with these values of --control
    [stability] prunings = [...]: the tickets whose stability main_stability.py measures, 0 for the dense network from
                the rewinding weights; controls = [...]: each of these tickets also with these values of --control; and
                flags of all these runs. Of main_init.py it is the one ticket

A flag is written without its dashes; `true` stands for a flag without a value, `false` for its absence.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from controls import CONTROLS
from rules import RULES
from rundir import RunDirectory
from utils import InputError, read_toml

PARTS = ("save_dir", "common", "grid", "search", "methods", "retrain", "elastic", "stability")
TRAIN, CARRY, INIT, STABILITY = "main_train.py", "main_elastic.py", "main_init.py", "main_stability.py"
PRAC = "main_PrAC_imp.py"
SEARCHES = ("main_imp.py", PRAC)  # whose rounds leave the trained weights that they prune by
SCRIPTS = (*SEARCHES, "main_greedy.py", "main_channels.py", INIT)
# By script, the flag for the directory of the PrAC run that a control follows.
FOLLOWING = {"main_imp.py": "steps_of", PRAC: "like_run"}
# Flags that a study gives itself.
RESERVED = ("save_dir", "init_dir", "mask_dir", "resume", "checkpoint", "overwrite", "source_arch", "target_arch")
RESERVED += ("rule", *FOLLOWING.values())
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
    A training may take the weights of the round before instead, the `trained` ones that the ticket was pruned from. A
    job that follows a run is given its directory, with the flag `follows`.
    """

    script: str
    flags: tuple[str, ...]  # as they are typed, without those below
    save_dir: Path
    after: "Job | None" = None
    prunings: int | None = None
    trained: bool = False
    follows: str | None = None

    @property
    def words(self) -> list[str]:
        if self.after is None:
            return self.words_with(None)
        if self.follows:
            return self.words_with(self.after.save_dir)
        file_of = RunDirectory(self.after.save_dir).checkpoint
        return self.words_with(file_of(self.prunings), file_of(self.prunings - 1) if self.trained else None)

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


def read_study(path: Path, save_dir: Path | None = None) -> Study:
    """The study in a file; InputError for one that is none."""
    content = read_toml(path)
    check_parts(path, content)
    folder = save_dir or Path(content.get("save_dir", f"runs/{path.stem}"))
    return Study(folder, tuple(jobs_of(content, folder)))


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
                jobs += rule_trainings(search, prunings, shared, where / ticket, content["retrain"].get("rules", []))
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
    known = {action.dest for action in import_module(Path(INIT).stem).parser()._actions}
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
    found = content[part].get("controls", [])
    first = prunings is None or prunings == content["retrain"]["prunings"][0]
    return [control for control in found if first or control not in CONTROLS or not CONTROLS[control].maskless]


def rule_trainings(search: Job, prunings: int | None, shared: Flags, save_dir: Path, rules: Iterable[str]) -> list[Job]:
    """Of a search's ticket after so many prunings, by each of these rules; --rewind_lr would be one of them."""
    if search.script not in SEARCHES:
        return []
    plain, folder = shared | {"rewind_lr": False}, save_dir.with_name
    return [
        Job(
            TRAIN,
            words(plain | {"rule": rule}),
            folder(f"{save_dir.name}_{slug(rule)}"),
            search,
            prunings,
            trained=True,
        )
        for rule in rules
    ]


def stability_runs(search: Job, content: Mapping, point: Flags) -> list[Job]:
    """Of a search's tickets after so many prunings, and of their controls; of the dense network, which has no mask to
    make one of, alone."""
    if "stability" not in content:
        return []
    part, jobs = content["stability"], []
    shared = content.get("common", {}) | point | flags_of("stability", part)
    for prunings in [None] if search.script == INIT else part.get("prunings", []):
        where = search.save_dir.with_name(f"{ticket_name(search, prunings)}_stability")
        controls = [] if prunings == 0 else part.get("controls", [])
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
        name = f"{ticket_name(search, prunings)}_from_{slug(point['arch'])}"
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


# --- checks -----------------------------------------------------------------------------------------------------------


def check_parts(path: Path, content: Mapping) -> None:
    """InputError unless the file has the parts of a study, and nothing else."""
    if strangers := content.keys() - set(PARTS):
        raise InputError(f"{path} has {sorted(strangers)[0]}, which no study has: {', '.join(PARTS)} are known")
    if not content.get("methods"):
        raise InputError(f"{path} has no [methods.NAME]: there is nothing to run")
    for part in PARTS[1:]:
        if not isinstance(content.get(part, {}), Mapping):
            raise InputError(f"{path}: {part} must be a table, got {content[part]!r}")
    check_methods(path, content["methods"])
    check_grid(path, content.get("grid", {}))
    check_retrain(path, content)
    check_elastic(path, content)
    check_stability(path, content)
    cases = content.get("grid", {}).get("cases", [])
    for part in (content.get(name, {}) for name in ("common", "grid", "search", "retrain", "elastic", "stability")):
        check_flags(path, part)
    for part in (*cases, *content["methods"].values()):
        check_flags(path, part)


def check_retrain(path: Path, content: Mapping) -> None:
    retrain = content.get("retrain", {})
    check_prunings(path, retrain, 1)
    check_controls(path, retrain)
    if retrain.get("controls") and not any(tickets(method, content) for method in content["methods"].values()):
        raise InputError(f"{path}: controls are made of the tickets of prunings in [retrain], which has none")
    check_rules(path, content)


def check_prunings(path: Path, part: Mapping, lowest: int) -> None:
    """InputError for prunings that are no list of whole numbers from `lowest` up."""
    prunings = part.get("prunings", [])
    if not isinstance(prunings, list) or not all(type(k) is int and k >= lowest for k in prunings):
        raise InputError(f"{path}: prunings must be a list of whole numbers from {lowest} up, got {prunings!r}")


def check_controls(path: Path, part: Mapping) -> None:
    controls = part.get("controls", [])
    if not isinstance(controls, list) or not all(isinstance(control, str) for control in controls):
        raise InputError(f"{path}: controls must be a list of values of --control, got {controls!r}")


def check_rules(path: Path, content: Mapping) -> None:
    """InputError unless rules are known ones, and there are tickets of searches to train by them."""
    rules = content.get("retrain", {}).get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, str) and rule in RULES for rule in rules):
        raise InputError(f"{path}: rules must be a list of values of --rule, {', '.join(RULES)}; got {rules!r}")
    searches = [method for method in content["methods"].values() if method["script"] in SEARCHES]
    if rules and not any(tickets(method, content) for method in searches):
        raise InputError(f"{path}: rules train the tickets of searches after the prunings in [retrain]: there are none")
    found = [search_flags(content, point, each) for point in points(content.get("grid", {})) for each in searches]
    if rules and any(flags.get("prune_type") == "pt" for flags in found):
        raise InputError(
            f"{path}: rules begin where rewound weights stand in the schedule; those of prune_type pt do not"
        )


def check_elastic(path: Path, content: Mapping) -> None:
    """InputError unless there are tickets to carry, networks to carry them to, and pairs of those."""
    if "elastic" not in content:
        return
    check_controls(path, content["elastic"])
    archs, pairs = content.get("grid", {}).get("arch", []), content["elastic"].get("pairs", [])
    if len(archs) < 2:
        raise InputError(f"{path}: [elastic] carries tickets between the networks of arch in [grid]: give two or more")
    if not any(tickets(method, content) for method in content["methods"].values()):
        raise InputError(f"{path}: [elastic] carries the tickets of prunings in [retrain], which has none")
    right = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    if not right or not all(pair[0] != pair[1] and set(pair) <= set(archs) for pair in pairs):
        raise InputError(
            f"{path}: pairs must be a list of two different networks each of arch in [grid], got {pairs!r}"
        )


def check_stability(path: Path, content: Mapping) -> None:
    """InputError unless there are tickets whose stability can be measured."""
    if "stability" not in content:
        return
    part, scripts = content["stability"], {method["script"] for method in content["methods"].values()}
    check_prunings(path, part, 0)
    check_controls(path, part)
    if others := scripts - {*SEARCHES, INIT}:
        raise InputError(
            f"{path}: [stability] is of tickets of {', '.join((*SEARCHES, INIT))}; a method has {min(others)}"
        )
    if not part.get("prunings") and INIT not in scripts:
        raise InputError(f"{path}: [stability] has no prunings: say whose tickets, 0 for the dense network")


def check_methods(path: Path, methods: Mapping) -> None:
    for name, method in methods.items():
        script = method.get("script") if isinstance(method, Mapping) else None
        if script not in SCRIPTS:
            raise InputError(f"{path}: method {name} needs script = one of {', '.join(SCRIPTS)}, got {script!r}")
    leading = [name for name, method in methods.items() if method["script"] == PRAC and followed(method) is None]
    for name, method in methods.items():
        if (other := followed(method)) is not None and other not in leading:
            names = f"one of {', '.join(leading)}" if leading else f"a method of {PRAC}, which there is none of"
            raise InputError(f"{path}: method {name} can be like {names}, got {other!r}")
    folders = [slug(name) for name in methods]
    if "dense" in folders or len(set(folders)) < len(folders):
        raise InputError(f"{path}: methods need different names, and none may be dense: {', '.join(methods)}")


def check_grid(path: Path, grid: Mapping) -> None:
    for flag, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{path}: {flag} in [grid] must be a list of values, got {values!r}")
    if not all(isinstance(case, Mapping) for case in grid.get("cases", [])):
        raise InputError(f"{path}: [[grid.cases]] must be tables of flags")


def check_flags(path: Path, flags: Mapping) -> None:
    for flag in flags:
        if flag in RESERVED:
            raise InputError(f"{path}: {flag} is set by the study itself")
