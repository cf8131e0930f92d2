"""Make a report: read the runs, compare them, write the chapters."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from lottery.checkpointing.atomic_file import write_atomically
from lottery.checkpointing.script_names import Script
from lottery.checkpointing.version import suite_version
from lottery.reports import drawing
from lottery.reports.chapters.accuracy import accuracy_parts
from lottery.reports.chapters.against import against_parts
from lottery.reports.chapters.altered_tickets import altered_ticket_parts
from lottery.reports.chapters.bases import basis_parts
from lottery.reports.chapters.cost import cost_parts
from lottery.reports.chapters.frontier import frontier_parts
from lottery.reports.chapters.greedy_channels import channel_parts
from lottery.reports.chapters.greedy_neurons import neuron_parts
from lottery.reports.chapters.masks import mask_parts
from lottery.reports.chapters.overlap import overlap_parts
from lottery.reports.chapters.prac_sets import prac_set_parts
from lottery.reports.chapters.robustness import robustness_parts
from lottery.reports.chapters.run_list import run_list_parts
from lottery.reports.chapters.stability import stability_parts
from lottery.reports.chapters.summary import also_compared, summary_parts
from lottery.reports.chapters.training_curves import training_curve_parts
from lottery.reports.comparison.against import check_names
from lottery.reports.comparison.methods import Task, group_by_task
from lottery.reports.comparison.stability_families import Family, group_by_family
from lottery.reports.comparison.sweeps import Sweep, group_by_sweep
from lottery.reports.config import ReportConfig
from lottery.reports.document import (
    Figure,
    Heading,
    Listing,
    Paragraph,
    Part,
    Report,
    Section,
    Table,
    with_names_of_their_own,
)
from lottery.reports.html import html
from lottery.reports.latex import latex
from lottery.reports.markdown import markdown
from lottery.results.greedy_runs import GreedyRun
from lottery.results.runs import AnyRun, read_runs
from lottery.results.stability_runs import StabilityRun
from lottery.results.ticket_runs import Run
from lottery.terminal import counted, print_lines
from utils import InputError


@dataclass(frozen=True)
class Comparison:
    """Runs sorted by what can be compared."""

    tasks: Sequence[Task]  # searches and retrainings
    sweeps: Sequence[Sweep]  # greedy selection of neurons or channels
    families: Sequence[Family]  # stability
    repeated: Sequence[AnyRun] = ()  # runs that are not counted, since they repeat another

    def sweeps_by(self, script: Script) -> list[Sweep]:
        return [sweep for sweep in self.sweeps if sweep.script == script]


def make_report(config: ReportConfig) -> None:
    """Read the runs and write the report. Notes on runs that are damaged or left out are printed to stderr, and are a
    chapter of their own. InputError if no run can be read."""
    notes: list[str] = []

    def log(note: str) -> None:
        notes.append(note)
        print_note(note)

    runs = read_runs(config.runs, log)
    if not runs:
        raise InputError("there is no run to report: see the notes above")
    print(f"{counted(len(runs), 'run')} read")
    comparison = Comparison(
        group_by_task([run for run in runs if isinstance(run, Run)], log),
        group_by_sweep([run for run in runs if isinstance(run, GreedyRun)], log),
        group_by_family([run for run in runs if isinstance(run, StabilityRun)], log),
        [run for run in runs if run.repeats],
    )
    check_names(config.against, comparison.tasks)
    with drawing.in_processes():
        report = compose_report(comparison, notes, config)
    for paragraph in report.all(Paragraph):
        if paragraph.warns:
            print_note(paragraph.text)
    write_report(report, config.output)


def print_note(note: str) -> None:
    print_lines(f"report.py: note: {note}", stream=sys.stderr)


def compose_report(comparison: Comparison, notes: Sequence[str], config: ReportConfig) -> Report:
    """All chapters that have content."""
    margin, data = config.margin, config.data
    tasks, sweeps, families = comparison.tasks, comparison.sweeps, comparison.families
    neurons, channels = comparison.sweeps_by(Script.GREEDY), comparison.sweeps_by(Script.CHANNELS)
    chapters: dict[str, list[Part]] = {
        "Summary": [*chapter(tasks, lambda task: summary_parts(task, margin)), *also_compared(sweeps, families)],
        "Notes": [Listing(notes)] if notes else [],
        "Accuracy": chapter(tasks, lambda task: accuracy_parts(task, margin)),
        f"Differences from {' and '.join(config.against)}": chapter(
            tasks, lambda task: against_parts(task, config.against, margin)
        ),
        "Elastic tickets, controls and rules": altered_ticket_parts(tasks, margin),
        "Stability": stability_parts(families),
        "Robustness": chapter(tasks, robustness_parts),
        "The cheapest search": chapter(tasks, lambda task: frontier_parts(task, margin)),
        "Cost": chapter(tasks, cost_parts),
        "Accuracy by epoch": chapter(tasks, training_curve_parts),
        "Masks": chapter(tasks, mask_parts),
        "Bases": chapter(tasks, basis_parts),
        "Overlap of tickets": chapter(tasks, overlap_parts),
        "PrAC sets": chapter(tasks, lambda task: prac_set_parts(task, data)),
        "Pre-training and greedy selection": chapter(neurons, neuron_parts),
        "Greedy selection of channels": chapter(channels, channel_parts),
    }
    chapters["Runs"] = run_list_parts(tasks, sweeps, families, comparison.repeated)
    taken: Counter[tuple[type, str]] = Counter()
    chapters = {title: with_names_of_their_own(parts, taken) for title, parts in chapters.items() if parts}
    sections = [Section(title, anchor(title), parts) for title, parts in chapters.items()]
    names = [task.name for task in tasks] + [sweep.name for sweep in sweeps]
    names = names or list(dict.fromkeys(family.task for family in families))
    made = f"Made {datetime.now():%Y-%m-%d %H:%M} by report.py {suite_version()}."
    return Report(f"Lottery tickets: {'; '.join(names)}", sections, made)


def anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def chapter(subjects: Sequence[Task | Sweep], parts: Callable[..., list[Part]]) -> list[Part]:
    """The parts of each task or sweep, under its name if there are several."""
    found: list[Part] = []
    for subject in subjects:
        own = parts(subject)
        found += [Heading(subject.name)] if own and len(subjects) > 1 else []
        found += own
    return found


def write_report(report: Report, folder: Path) -> None:
    """Write the report's files, each atomically; other files in the folder stay."""
    contents = {"report.html": encoded(html(report)), "report.md": encoded(markdown(report))}
    for figure in report.all(Figure):
        contents |= {f"figures/{figure.name}.{kind}": content for kind, content in figure.files._asdict().items()}
    for table in report.all(Table):
        contents[f"tables/{table.name}.csv"] = table.csv()
        if table.is_shown:
            contents[f"tables/{table.name}.tex"] = encoded(latex(table))
    for part in ("figures", "tables"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_atomically(folder / name, partial(_write, content), durable=False)
    print_lines(f"{folder / 'report.html'}, the same in report.md; pictures in figures/, all numbers in tables/")


def encoded(text: str) -> bytes:
    """A command on record may name files whose bytes are no UTF-8, which are spelled out."""
    return text.encode(errors="backslashreplace")


def _write(content: bytes, file) -> None:
    file.write(content)
