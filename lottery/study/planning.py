"""From the contents of a study file to its jobs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lottery.checkpointing.script_names import Script
from lottery.study.grid import (
    FOLLOWING_FLAGS,
    Flags,
    directory_name,
    followed_method,
    grid_points,
    method_flags,
    point_directory,
    stability_flags,
    table_flags,
    training_flags,
    typed,
)
from lottery.study.jobs import Job
from lottery.tickets.controls import is_maskless


def plan_jobs(content: Mapping, folder: Path) -> list[Job]:
    """At each point of the grid the dense training, the methods, and all that is done with their tickets."""
    jobs: list[Job] = []
    for point in grid_points(content.get("grid", {})):
        where = folder / point_directory(point)
        if content.get("retrain", {}).get("dense"):
            jobs.append(Job(Script.TRAIN, typed(training_flags(content, point)), where / "dense"))
        searches: dict[str, Job] = {}
        for name, method in sorted(content["methods"].items(), key=lambda item: followed_method(item[1]) is not None):
            script, followed = Script(method["script"]), searches.get(followed_method(method))
            follows = FOLLOWING_FLAGS[script] if followed else None
            flags = typed(method_flags(content, point, method))
            searches[name] = Job(script, flags, where / directory_name(name), followed, follows=follows)
            jobs += [searches[name], *ticket_jobs(searches[name], name, content, point, folder)]
    return jobs


def ticket_jobs(search: Job, method: str, content: Mapping, point: Flags, folder: Path) -> list[Job]:
    """All that is done with the tickets of the run of a method."""
    jobs: list[Job] = []
    for prunings in trained_tickets(content["methods"][method], content):
        where = search.save_dir.with_name(ticket_name(search, prunings))
        controls = retrain_controls(content, method, prunings)
        jobs += training_jobs(search, prunings, training_flags(content, point), where, controls)
        jobs += rule_jobs(search, prunings, controls, content, point, where)
        jobs += elastic_jobs(search, method, prunings, content, point, folder)
    return jobs + stability_jobs(search, content, point)


def trained_tickets(method: Mapping, content: Mapping) -> list[int | None]:
    """Which tickets of a method are trained: those after so many prunings, its own or those of [retrain], or (None) its
    only one; none of a method that does not prune in rounds."""
    script = Script(method["script"])
    if "retrain" not in content or not (script.makes_one_ticket or script.is_search):
        return []
    if script.makes_one_ticket:
        return [None]
    return method.get("prunings", content["retrain"].get("prunings", []))


def ticket_name(search: Job, prunings: int | None) -> str:
    return f"{search.save_dir.name}_ticket" + ("" if prunings is None else f"_{prunings}")


def training_jobs(
    maker: Job,
    prunings: int | None,
    flags: Flags,
    save_dir: Path,
    controls: Iterable[str],
    script: Script = Script.TRAIN,
) -> list[Job]:
    """The ticket that a job makes (after so many prunings, if it is a search) and its controls, each trained by
    `script`."""
    variants = {"": flags} | {f"_{directory_name(control)}": flags | {"control": control} for control in controls}
    return [
        Job(script, typed(given), save_dir.with_name(f"{save_dir.name}{ending}"), maker, prunings)
        for ending, given in variants.items()
    ]


def retrain_controls(content: Mapping, method: str, prunings: int | None) -> list[str]:
    """The controls that [retrain] asks for of a method's ticket after so many prunings."""
    part, trained = content["retrain"], trained_tickets(content["methods"][method], content)
    wanted = [each for each in part.get("control_prunings", trained) if each in trained]
    if method not in part.get("control_methods", [method]) or (prunings is not None and prunings not in wanted):
        return []
    return ticket_controls(part.get("controls", []), is_first=prunings is None or prunings == wanted[0])


def ticket_controls(controls: Iterable[str], is_first: bool) -> list[str]:
    """The controls of one ticket of a search. Those without a mask are the same for all of its tickets, and belong to
    the first."""
    return [control for control in controls if is_first or not is_maskless(control)]


def rule_jobs(
    search: Job, prunings: int | None, controls: Iterable[str], content: Mapping, point: Flags, save_dir: Path
) -> list[Job]:
    """A search's ticket trained by each rule of [retrain], from the trained weights that it was pruned from; and the
    dense network, if that is one of its `controls`, from its own trained weights.

    --rewind_lr is left out: it would be a rule of its own.
    """
    if not search.script.is_search:
        return []
    shared = training_flags(content, point) | {"rewind_lr": False}
    maskless = [name for name in controls if is_maskless(name)]
    jobs: list[Job] = []
    for rule in content["retrain"].get("rules", []):
        flags, where = shared | {"rule": rule}, save_dir.with_name(f"{save_dir.name}_{directory_name(rule)}")
        jobs.append(Job(Script.TRAIN, typed(flags), where, search, prunings, trained=prunings - 1))
        for control in maskless:
            folder = where.with_name(f"{where.name}_{directory_name(control)}")
            given = typed(flags | {"control": control})
            jobs.append(Job(Script.TRAIN, given, folder, search, prunings, trained=0))
    return jobs


def elastic_jobs(
    search: Job, method: str, prunings: int | None, content: Mapping, point: Flags, folder: Path
) -> list[Job]:
    """A ticket transferred to other networks of the grid, and trained there."""
    jobs: list[Job] = []
    for target in transfer_targets(content, point):
        there = point | {"arch": target}
        flags, where = training_flags(content, there), folder / point_directory(there)
        given = {"source_arch": point["arch"], "target_arch": target}
        given |= {"stem": flags["stem"]} if "stem" in flags else {}
        given |= table_flags("elastic", content["elastic"])
        name = f"{ticket_name(search, prunings)}_from_{directory_name(str(point['arch']))}"
        transfer = Job(Script.ELASTIC, typed(given), where / f"{name}_carried", search, prunings)
        is_first = prunings == trained_tickets(content["methods"][method], content)[0]
        controls = ticket_controls(content["elastic"].get("controls", []), is_first)
        jobs += [transfer, *training_jobs(transfer, None, flags, where / name, controls)]
    return jobs


def transfer_targets(content: Mapping, point: Flags) -> list[str]:
    """The networks that the tickets of this point are transferred to."""
    if "elastic" not in content:
        return []
    source, pairs = point["arch"], content["elastic"].get("pairs")
    return [arch for arch in content["grid"]["arch"] if arch != source and (pairs is None or [source, arch] in pairs)]


def stability_jobs(search: Job, content: Mapping, point: Flags) -> list[Job]:
    """Stability runs of a method's tickets and of their controls; the dense network (0 prunings) has no controls."""
    if "stability" not in content:
        return []
    part, jobs = content["stability"], []
    wanted = [None] if search.script.makes_one_ticket else part.get("prunings", [])
    for prunings in wanted:
        where = search.save_dir.with_name(f"{ticket_name(search, prunings)}_stability")
        is_first = 0 not in wanted and prunings == wanted[0]  # the dense network is the control without a mask
        controls = [] if prunings == 0 else ticket_controls(part.get("controls", []), is_first)
        flags = stability_flags(content, point)
        jobs += training_jobs(search, prunings, flags, where, controls, Script.STABILITY)
    return jobs
