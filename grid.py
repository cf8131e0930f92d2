"""A study: which runs it is made of, read from a TOML file.

    [common]    flags of every run
    [grid]      flags with lists of values: every combination is run; [[grid.cases]]: flags that belong together
    [search]    flags of every search
    [methods.NAME]  script = "main_imp.py" or "main_PrAC_imp.py", and its own flags
    [retrain]   prunings = [...]: the tickets to train again; dense = true: the whole network, too; and flags of these

A flag is written without its dashes; `true` stands for a flag without a value, `false` for its absence.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rundir import RunDirectory
from utils import InputError, read_toml

PARTS = ("save_dir", "common", "grid", "search", "methods", "retrain")
SCRIPTS = ("main_imp.py", "main_PrAC_imp.py")
TRAIN = "main_train.py"
RESERVED = ("save_dir", "init_dir", "mask_dir", "resume", "checkpoint", "overwrite")  # flags that a study gives itself

Flags = dict[str, object]


@dataclass(frozen=True)
class Job:
    """One run of one script; with `after`, the training of that search's ticket after so many `prunings`."""

    script: str
    flags: tuple[str, ...]  # as they are typed, without those below
    save_dir: Path
    after: "Job | None" = None
    prunings: int = 0

    @property
    def words(self) -> list[str]:
        given = []
        if self.after:
            ticket = str(RunDirectory(self.after.save_dir).checkpoint(self.prunings))
            given = ["--init_dir", ticket, "--mask_dir", ticket]
        return [*self.flags, *given, "--save_dir", str(self.save_dir)]


@dataclass(frozen=True)
class Study:
    """All runs, each search before the trainings of its tickets, and where they lie."""

    save_dir: Path
    jobs: tuple[Job, ...]


def read_study(path: Path, save_dir: Path | None = None) -> Study:
    """The study in a file; InputError for one that is none."""
    content = read_toml(path)
    check_parts(path, content)
    folder = save_dir or Path(content.get("save_dir", f"runs/{path.stem}"))
    return Study(folder, tuple(jobs_of(content, folder)))


def jobs_of(content: Mapping, folder: Path) -> list[Job]:
    """Of each point of the grid its dense training, its searches, and the trainings of their tickets."""
    jobs: list[Job] = []
    search, retrain = content.get("search", {}), dict(content.get("retrain", {}))
    prunings, dense = retrain.pop("prunings", []), retrain.pop("dense", False)
    for point in points(content.get("grid", {})):
        where, shared = folder / place(point), content.get("common", {}) | point
        training = shared | retrain
        if dense:
            jobs.append(Job(TRAIN, words(training), where / "dense"))
        for name, method in content["methods"].items():
            own = {flag: value for flag, value in method.items() if flag != "script"}
            found = Job(method["script"], words(shared | search | own), where / slug(name))
            jobs += [found, *(training_of(found, training, k) for k in prunings)]
    return jobs


def training_of(search: Job, training: Flags, prunings: int) -> Job:
    """The training of a search's ticket after so many prunings."""
    folder = search.save_dir.with_name(f"{search.save_dir.name}_ticket_{prunings}")
    return Job(TRAIN, words(training), folder, search, prunings)


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
    """A folder for a point of the grid: seed_0, or cifar10/seed_0 where cases differ in their data set."""
    parts = [slug(f"{flag}_{value}") if flag != "dataset" else slug(str(value)) for flag, value in point.items()
             if flag != "data"]  # fmt: skip
    return Path(*parts)


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
    prunings = content.get("retrain", {}).get("prunings", [])
    if not isinstance(prunings, list) or not all(type(k) is int and k > 0 for k in prunings):
        raise InputError(f"{path}: prunings must be a list of whole numbers from 1 up, got {prunings!r}")
    cases = content.get("grid", {}).get("cases", [])
    for part in (content.get(name, {}) for name in ("common", "grid", "search", "retrain")):
        check_flags(path, part)
    for part in (*cases, *content["methods"].values()):
        check_flags(path, part)


def check_methods(path: Path, methods: Mapping) -> None:
    for name, method in methods.items():
        script = method.get("script") if isinstance(method, Mapping) else None
        if script not in SCRIPTS:
            raise InputError(f"{path}: method {name} needs script = one of {', '.join(SCRIPTS)}, got {script!r}")
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
