"""The chapter that lists every run with its command, settings and hardware, so that each number can be reproduced."""

from collections.abc import Sequence

from lottery.checkpointing.script_names import Script
from lottery.reports.chapters.greedy_tables import swept_columns
from lottery.reports.comparison.cost import evaluation_flops
from lottery.reports.comparison.methods import DENSE, SEARCH, Method, Task
from lottery.reports.comparison.stability_families import Family, families_by_task
from lottery.reports.comparison.sweeps import Sweep
from lottery.reports.document import Column, Commands, Folded, Paragraph, Part, Table, file_stem
from lottery.results.runs import AnyRun
from lottery.results.ticket_runs import Run
from lottery.training.costs import training_flops

ROWS = (  # heading, key of a round's row, form
    ("round", "round", "d"),
    ("density", "density", ".4f"),
    ("sparsity", "sparsity", ".4f"),
    ("examples in the set", "set", ",d"),
    ("validation", "validation", ".2f"),
    ("test", "test", ".2f"),
    ("best epoch", "best_epoch", "d"),
    ("epochs", "epochs", "d"),
    ("planned", "epochs_planned", "d"),
    ("stopped", "stopped", ""),
    ("steps", "steps", ",d"),
    ("examples", "examples", ",d"),
    ("extra passes", "forward_passes", ",d"),
    ("seconds", "seconds", ".1f"),
)
MOST_SHOWN = 12  # rows of a table that is not folded
HIDDEN = ("seed", "network", "searches", "sets")  # settings that have columns of their own, or are no settings


def run_list_parts(
    tasks: Sequence[Task], sweeps: Sequence[Sweep], families: Sequence[Family], repeated: Sequence[AnyRun] = ()
) -> list[Part]:
    """The runs, their commands, settings, versions and hardware, and each network that was trained."""
    methods = [method for task in tasks for method in task.methods]
    groups: list[Method | Sweep | Family] = [*methods, *sweeps, *families]
    runs: list[AnyRun] = [run for group in groups for run in group.runs]
    commands = [f"# {run.name}\n{run.summary['command']}" for run in runs if "command" in run.summary]
    unknown = [run.name for run in runs if "command" not in run.summary]
    parts: list[Part] = [hardware_table(runs)]
    parts += [ticket_run_table(tasks)] if tasks else []
    parts += greedy_run_tables(sweeps)
    parts += [stability_run_table(families)] if families else []
    parts += [repeats_table(repeated)] if repeated else []
    for task in tasks:
        users = [(_method_text(method), method.runs) for method in task.methods]
        parts.append(settings_table(f"settings_{task.stem}", task.name, users))
    for sweep in sweeps:
        parts.append(settings_table(f"selection_settings_{sweep.stem}", sweep.name, [("all runs", sweep.runs)]))
    for name, its in families_by_task(families).items():
        own = [(family.name, family.runs) for family in its]
        parts.append(settings_table(f"stability_settings_{file_stem(name)}", f"stability, {name}", own))
    parts += [Folded("The commands that made the runs", [Commands(commands)])] if commands else []
    parts += [Paragraph(f"Runs that recorded no command: {', '.join(unknown)}.")] if unknown else []
    return [*parts, network_table(tasks)] if tasks else parts


def ticket_run_table(tasks: Sequence[Task]) -> Table:
    columns = (
        Column("run"),
        Column("task"),
        Column("method"),
        Column("seed"),
        Column("networks", "d"),
        Column("ticket"),
    )
    rows = [
        [run.name, task.name, _method_text(method), _seed_text(run), len(run.rounds), (run.ticket or {}).get("file")]
        for task in tasks
        for method in task.methods
        for run in method.runs
    ]
    return Table("runs", "The runs.", columns, rows, folded=len(rows) > MOST_SHOWN)


def greedy_run_tables(sweeps: Sequence[Sweep]) -> list[Table]:
    """A table for each script, since they sweep different settings."""
    tables = []
    for script, name in {Script.GREEDY: "neurons_runs", Script.CHANNELS: "channels_runs"}.items():
        own = [sweep for sweep in sweeps if sweep.script == script]
        rows = [
            [run.name, sweep.name, *run.swept, run.seed, run.done, run.planned, run.summary["finished"]]
            for sweep in own
            for run in sweep.runs
        ]
        columns = [Column("run"), Column("sweep"), *(swept_columns(own[0]) if own else [])]
        columns += [Column(name, "d") for name in ("seed", "selections", "planned")] + [Column("finished")]
        tables += [Table(name, f"The runs of {script}.", columns, rows)] if own else []
    return tables


def stability_run_table(families: Sequence[Family]) -> Table:
    columns = [Column(heading) for heading in ("run", "task", "tickets")]
    columns += [Column("seed", "d"), Column("order seeds"), Column("barrier", ".2f"), Column("ticket")]
    rows = [
        [run.name, family.task, family.name, run.seed, " and ".join(map(str, run.settings["order_seeds"])),
         run.summary["barrier"]["test_error"], (run.ticket or {}).get("file")]
        for family in families
        for run in family.runs
    ]  # fmt: skip
    return Table("stability_runs", "The runs of main_stability.py.", columns, rows)


def repeats_table(runs: Sequence[AnyRun]) -> Table:
    """Runs that are not counted."""
    columns = (Column("run, not counted"), Column("seed"), Column("repeats the run"))
    return Table(
        "repeats", "Runs that repeat another.", columns, [[run.name, str(run.seed), run.repeats] for run in runs]
    )


def _seed_text(run: Run) -> str:
    return str(run.settings.get("seed", "not told"))


def _method_text(method: Method) -> str:
    retrained = method.kind not in (SEARCH, DENSE)
    return f"{method.name}, retrained" if retrained else method.name


def hardware_table(runs: Sequence[AnyRun]) -> Table:
    """Versions and hardware, a row for all runs that share them."""
    environments: dict[tuple, list[str]] = {}
    for run in runs:
        version = {"suite": run.summary["version"]} if "version" in run.summary else {}
        environment = version | run.summary.get("environment", {})
        environments.setdefault(tuple(environment.items()), []).append(run.name)
    names = list(dict.fromkeys(name for environment in environments for name, _ in environment))
    columns = [*map(Column, names), Column("runs")]
    largest = max(environments.values(), key=len, default=[])
    rows = []
    for environment, users in environments.items():
        known = dict(environment)
        need_no_list = users is largest and len(users) > MOST_SHOWN
        which = _most_text(len(users), len(runs)) if need_no_list else ", ".join(users)
        rows.append([*(str(known[name]) if name in known else None for name in names), which])
    return Table("hardware", "Versions and hardware.", columns, rows, folded=True)


def _most_text(most: int, runs: int) -> str:
    """The runs of the environment that most of them share, which need not be listed."""
    return f"all {runs}" if most == runs else f"the other {most}"


def settings_table(name: str, about: str, users: Sequence[tuple[str, Sequence[AnyRun]]]) -> Table:
    """The settings but for the seed: a column for each name and its runs, such as the methods of a task."""
    columns = [Column("setting"), *(Column(heading) for heading, _ in users)]
    settings = dict.fromkeys(setting for _, runs in users for setting in runs[0].settings if setting not in HIDDEN)
    rows = [[setting, *(_value(runs, setting) for _, runs in users)] for setting in settings]
    return Table(name, f"Settings, {about}.", columns, rows, folded=True)


def _value(runs: Sequence[AnyRun], name: str) -> str | None:
    """A setting's value; all of its values if the runs differ in it."""
    values = dict.fromkeys(str(run.settings[name]) for run in runs if name in run.settings)
    return ", ".join(values) or None


def network_table(tasks: Sequence[Task]) -> Table:
    """A row for each network that a search or a retraining trained."""
    columns = [Column("run"), Column("method"), Column("seed"), *(Column(heading, form) for heading, _, form in ROWS)]
    columns += [Column("training FLOPs", ".3e"), Column("other FLOPs", ".3e")]
    rows = []
    for method in (method for task in tasks for method in task.methods):
        for run in method.runs:
            flops = run.summary.get("flops", {})
            for row in run.rounds:
                cost = [training_flops(flops, row), evaluation_flops(run, row)]
                recorded = [row.get(key) for _, key, _ in ROWS]
                rows.append([run.name, _method_text(method), _seed_text(run), *recorded, *cost])
    return Table("networks", "Every network that was trained.", columns, rows, folded=True)
