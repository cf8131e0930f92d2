"""A study file, read and checked. A short reference; docs/study_format.md explains it with an example.

    save_dir    directory of all runs; runs/NAME after the file's name if not given
    [common]    flags of every run
    [grid]      flags with lists of values: every combination is run; [[grid.cases]]: flags that belong together
    [search]    flags of every search
    [methods.NAME]  script = "main_imp.py", "main_PrAC_imp.py", "main_greedy.py" or "main_channels.py", and its flags;
                or script = "main_init.py" or "main_dst.py", which makes one ticket, trained if there is a [retrain]; of
                [common] and [grid] either takes the flags that it has, of [search] only main_dst.py; like = "NAME": a
                control that follows the run of this method of main_PrAC_imp.py at the same point of the grid
                (--like_run, --steps_of); prunings = [...]: its tickets to train, in place of those of [retrain]
    [retrain]   prunings = [...]: the tickets to train; controls = [...]: values of --control, with each of which each
                ticket is trained as well (dense, which is the same for all tickets of a search, with the first only);
                control_methods = [...], control_prunings = [...]: the tickets that have controls, if not all do;
                rules = [...]: values of --rule, by each of which each ticket of a search is trained as well, from the
                trained weights that it was pruned from, and so is the control dense, from its own; dense = true: train
                the dense network, too; and flags of all these trainings
    [elastic]   flags of main_elastic.py: each ticket of [retrain] is also transferred to every other arch of [grid], at
                the same seed and case, and trained there; pairs = [["mlp2", "mlp3"], ...]: only from the first network
                of each pair to the second; controls = [...]: values of --control for the transferred tickets
    [stability] prunings = [...]: the tickets whose stability main_stability.py measures, 0 for the dense network from
                the rewinding weights (of main_init.py its one ticket, without prunings); controls = [...]: values of
                --control for each of these tickets; and flags of all these runs

A flag is written without its dashes; `true` stands for a flag without a value, `false` for its absence.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

from lottery.checkpointing.script_names import SEARCHES, Script
from lottery.retraining.rules import RULES
from lottery.study.grid import FOLLOWING_FLAGS, directory_name, followed_method, grid_points, method_flags
from lottery.study.jobs import Study
from lottery.study.planning import plan_jobs, trained_tickets
from utils import InputError, expand_home, read_toml

NO_FOLDERS = ("", ".", "..", "report")  # of a method
OTHER_THINGS = (".old", ".log")  # what --overwrite replaced, and logs, lie beside the runs
PARTS = ("save_dir", "common", "grid", "search", "methods", "retrain", "elastic", "stability")
METHOD_SCRIPTS = (*SEARCHES, Script.DST, Script.GREEDY, Script.CHANNELS, Script.INIT)
# Flags that say the rounds of a search, and those that they are given instead of.
INSTEAD = {"densities": ("pruning_times", "rate"), "pattern": ("pruning_times", "rate", "densities")}
STABLE = (*SEARCHES, Script.DST, Script.INIT)  # whose tickets [stability] takes
# Flags that a study sets itself.
RESERVED = set("save_dir gpu init_dir mask_dir resume checkpoint overwrite source_arch target_arch rule".split())
RESERVED |= {*FOLLOWING_FLAGS.values()}


def read_study(path: Path, save_dir: Path | None = None) -> Study:
    """The study in a file; InputError unless it is one."""
    content = read_toml(path)
    check_parts(path, content)
    folder = save_dir or expand_home(given_save_dir(path, content))
    return Study(folder, tuple(plan_jobs(content, folder)))


def given_save_dir(path: Path, content: Mapping) -> str:
    """Where the study says that its runs go, or runs/NAME; InputError for what is no path."""
    found = content.get("save_dir", f"runs/{path.stem}")
    if not isinstance(found, str) or not found:
        raise InputError(f"{path}: save_dir must be a path in quotation marks, got {found!r}")
    return found


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
    check_densities(path, content)
    cases = content.get("grid", {}).get("cases", [])
    for part in (content.get(name, {}) for name in ("common", "grid", "search", "retrain", "elastic", "stability")):
        check_flags(path, part)
    for part in (*cases, *content["methods"].values()):
        check_flags(path, part)


def check_retrain(path: Path, content: Mapping) -> None:
    retrain = content.get("retrain", {})
    check_prunings(path, retrain, 1)
    check_own_prunings(path, content)
    check_dense(path, retrain.get("dense", False))
    check_controls(path, retrain)
    if retrain.get("controls") and not any_trained(content["methods"].values(), content):
        raise InputError(f"{path}: controls are made of the tickets of prunings in [retrain], which has none")
    check_controlled(path, content)
    check_rules(path, content)


def every_pruning(content: Mapping) -> list[int]:
    """The prunings after which some method's ticket is trained."""
    found = (trained_tickets(method, content) for method in content["methods"].values())
    return sorted({prunings for each in found for prunings in each if prunings is not None})


def any_trained(methods: Iterable[Mapping], content: Mapping) -> bool:
    """Whether [retrain] trains a ticket of any of these methods."""
    return any(trained_tickets(method, content) for method in methods)


def check_dense(path: Path, dense: object) -> None:
    if not isinstance(dense, bool):
        raise InputError(f"{path}: dense must be true or false, got {dense!r}")


def check_prunings(path: Path, part: Mapping, lowest: int) -> None:
    """InputError unless prunings are a list of whole numbers from `lowest` up."""
    prunings = part.get("prunings", [])
    if not isinstance(prunings, list) or not all(type(k) is int and k >= lowest for k in prunings):
        raise InputError(f"{path}: prunings must be a list of whole numbers from {lowest} up, got {prunings!r}")


def check_own_prunings(path: Path, content: Mapping) -> None:
    """InputError for prunings of a method that are none of a search, or that nothing trains."""
    for name, method in content["methods"].items():
        if "prunings" not in method:
            continue
        check_prunings(path, method, 1)
        if "retrain" not in content:
            raise InputError(f"{path}: method {name} has prunings, the tickets to train, but there is no [retrain]")
        if Script(method["script"]).makes_one_ticket:
            raise InputError(f"{path}: method {name} has prunings, but {method['script']} makes one ticket")
        if not Script(method["script"]).is_search:
            raise InputError(f"{path}: method {name} has prunings, but {method['script']} does not prune in rounds")


def check_controls(path: Path, part: Mapping) -> None:
    controls = part.get("controls", [])
    if not isinstance(controls, list) or not all(isinstance(control, str) for control in controls):
        raise InputError(f"{path}: controls must be a list of values of --control, got {controls!r}")


def check_controlled(path: Path, content: Mapping) -> None:
    """InputError unless control_methods and control_prunings name tickets of [retrain], and there are controls."""
    retrain, methods = content.get("retrain", {}), content["methods"]
    known = {"control_methods": [*methods], "control_prunings": every_pruning(content)}
    for name in known.keys() & retrain.keys():
        given = retrain[name]
        if not isinstance(given, list) or not given or not all(each in known[name] for each in given):
            allowed = ", ".join(map(str, known[name])) or "none"
            raise InputError(f"{path}: {name} must be a list of some of {allowed}; got {given!r}")
        if not retrain.get("controls"):
            raise InputError(f"{path}: {name} says which tickets have controls, and there are no controls in [retrain]")


def check_rules(path: Path, content: Mapping) -> None:
    """InputError unless rules are known, and there are tickets of searches to train by them."""
    rules = content.get("retrain", {}).get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, str) and rule in RULES for rule in rules):
        raise InputError(f"{path}: rules must be a list of values of --rule, {', '.join(RULES)}; got {rules!r}")
    searches = [method for method in content["methods"].values() if method["script"] in SEARCHES]
    if rules and not any_trained(searches, content):
        raise InputError(f"{path}: rules train the tickets of searches after the prunings in [retrain]: there are none")
    found = [method_flags(content, point, each) for point in grid_points(content.get("grid", {})) for each in searches]
    if rules and any(flags.get("prune_type") == "pt" for flags in found):
        raise InputError(
            f"{path}: rules begin where rewound weights stand in the schedule; those of prune_type pt do not"
        )


def check_elastic(path: Path, content: Mapping) -> None:
    """InputError unless there are tickets to transfer, networks to transfer them to, and proper pairs of those."""
    if "elastic" not in content:
        return
    check_controls(path, content["elastic"])
    archs, pairs = content.get("grid", {}).get("arch", []), content["elastic"].get("pairs", [])
    if len(archs) < 2:
        raise InputError(f"{path}: [elastic] transfers tickets between the arch in [grid]: give two or more")
    if not any_trained(content["methods"].values(), content):
        raise InputError(f"{path}: [elastic] transfers the tickets of prunings in [retrain], which has none")
    right = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    if not right or not all(pair[0] != pair[1] and all(each in archs for each in pair) for pair in pairs):
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
    if others := scripts - {*STABLE}:
        raise InputError(f"{path}: [stability] is of tickets of {', '.join(STABLE)}; a method has {min(others)}")
    if not part.get("prunings") and not any(Script(script).makes_one_ticket for script in scripts):
        raise InputError(f"{path}: [stability] has no prunings: say whose tickets, 0 for the dense network")


def check_methods(path: Path, methods: Mapping) -> None:
    for name, method in methods.items():
        script = method.get("script") if isinstance(method, Mapping) else None
        if script not in METHOD_SCRIPTS:
            raise InputError(f"{path}: method {name} needs script = one of {', '.join(METHOD_SCRIPTS)}, got {script!r}")
    prac_methods = [name for name, method in methods.items() if method["script"] == Script.PRAC_IMP]
    leading = [name for name in prac_methods if followed_method(methods[name]) is None]
    for name, method in methods.items():
        if (other := followed_method(method)) is not None and other not in leading:
            known = f"one of {', '.join(leading)}" if leading else f"a method of {Script.PRAC_IMP}, but there is none"
            raise InputError(f"{path}: method {name} can be like {known}, got {other!r}")
    folders = [directory_name(name) for name in methods]
    if unusable := [
        name
        for name, folder in zip(methods, folders, strict=True)
        if folder in NO_FOLDERS or folder.endswith(OTHER_THINGS)
    ]:
        raise InputError(
            f"{path}: a method's runs lie in a directory of its name, of letters from a to z, digits, dots and dashes, "
            f"which {unusable[0]!r} does not give; reports are in report, and names that end in .old or .log are others"
        )
    if "dense" in folders or len(set(folders)) < len(folders):
        raise InputError(f"{path}: methods need different names, and none may be dense: {', '.join(methods)}")


def check_densities(path: Path, content: Mapping) -> None:
    """InputError for a method with densities or a pattern that takes another way to say the rounds from a table of many
    methods."""
    for (name, method), (flag, others) in product(content["methods"].items(), INSTEAD.items()):
        flags = method_flags(content, {}, method)
        rivals = [other for other in others if flags.get(other, False) is not False and other not in method]
        if flags.get(flag, False) is not False and rivals:
            out = " and ".join(f"{rival} = false" for rival in rivals)
            raise InputError(
                f"{path}: method {name} has {flag} beside {' and '.join(rivals)} of [common] or [search], which say "
                f"the same in another way: put {out} into [methods.{json.dumps(name)}]"
            )


def check_grid(path: Path, grid: Mapping) -> None:
    for flag, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{path}: {flag} in [grid] must be a list of values, got {values!r}")
    if not all(isinstance(case, Mapping) for case in grid.get("cases", [])):
        raise InputError(f"{path}: [[grid.cases]] must be tables of flags")


def check_flags(path: Path, flags: Mapping) -> None:
    for flag in flags:
        if flag in RESERVED:
            instead = ", which chooses devices by its flag --gpu" if flag == "gpu" else ""
            raise InputError(f"{path}: {flag} is set by the study itself{instead}")
