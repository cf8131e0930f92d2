"""The last chapter: every run, so that each number can be made again."""

from collections.abc import Sequence

from reports.cost import looking_flops, training_flops
from reports.document import Column, Commands, Paragraph, Part, Table
from reports.methods import DENSE, Method, Task
from reports.runs import Run

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


HIDDEN = ("seed", "network", "searches", "sets")  # settings that are told elsewhere, or are no settings


def runs_parts(tasks: Sequence[Task]) -> list[Part]:
    """Which runs there are, their commands, settings, versions and hardware, and each network that was trained."""
    methods = [method for task in tasks for method in task.methods]
    runs = [run for method in methods for run in method.runs]
    commands = [f"# {run.name}\n{run.summary['command']}" for run in runs if "command" in run.summary]
    lost = [run.name for run in runs if "command" not in run.summary]
    parts: list[Part] = [list_of_runs(tasks), hardware(runs)]
    parts += [settings_table(task, number) for number, task in enumerate(tasks, 1)]
    parts += [Paragraph("The commands that made the runs:"), Commands(commands)] if commands else []
    parts += [Paragraph(f"Runs that recorded no command: {', '.join(lost)}.")] if lost else []
    return [*parts, networks(tasks)]


def list_of_runs(tasks: Sequence[Task]) -> Table:
    columns = (
        Column("run"),
        Column("task"),
        Column("method"),
        Column("seed"),
        Column("networks", "d"),
        Column("ticket"),
    )
    rows = [
        [run.name, task.name, _kind(method), _seed(run), len(run.rounds), (run.ticket or {}).get("file")]
        for task in tasks
        for method in task.methods
        for run in method.runs
    ]
    return Table("runs", "The runs.", columns, rows)


def _seed(run: Run) -> str:
    return str(run.settings.get("seed", "not told"))


def _kind(method: Method) -> str:
    retrained = method.kind not in ("search", DENSE)
    return f"{method.name}, retrained" if retrained else method.name


def hardware(runs: Sequence[Run]) -> Table:
    """Versions and hardware, the same ones once."""
    told: dict[tuple, list[str]] = {}
    for run in runs:
        told.setdefault(tuple(run.summary.get("environment", {}).items()), []).append(run.name)
    names = list(dict.fromkeys(name for environment in told for name, _ in environment))
    columns = [*map(Column, names), Column("runs")]
    rows = []
    for environment, users in told.items():
        known = dict(environment)
        rows.append([*(str(known[name]) if name in known else None for name in names), ", ".join(users)])
    return Table("hardware", "Versions and hardware.", columns, rows)


def settings_table(task: Task, number: int) -> Table:
    """The settings of each method of a task, a column each; what decides results beside the seed."""
    columns = [Column("setting"), *(Column(_kind(method)) for method in task.methods)]
    names = dict.fromkeys(name for method in task.methods for name in method.settings if name not in HIDDEN)
    rows = [[name, *(_value(method, name) for method in task.methods)] for name in names]
    return Table(f"settings-{number}", f"Settings, {task.name}.", columns, rows, folded=len(rows) > 12)


def _value(method: Method, name: str) -> str | None:
    """A setting's value in words; all of them where the runs of the method differ in it."""
    values = dict.fromkeys(str(run.settings[name]) for run in method.runs if name in run.settings)
    return ", ".join(values) or None


def networks(tasks: Sequence[Task]) -> Table:
    columns = [Column("run"), Column("method"), Column("seed"), *(Column(heading, form) for heading, _, form in ROWS)]
    columns += [Column("training FLOPs", ".3e"), Column("other FLOPs", ".3e")]
    rows = []
    for method in (method for task in tasks for method in task.methods):
        for run in method.runs:
            flops = run.summary.get("flops", {})
            for row in run.rounds:
                cost = [training_flops(flops, row), looking_flops(run, row)]
                told = [row.get(key) for _, key, _ in ROWS]
                rows.append([run.name, _kind(method), _seed(run), *told, *cost])
    return Table("networks", "Every network that was trained.", columns, rows, folded=True)
