"""From directories to a report: read the runs, write the chapters, put the files into place."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lottery.checkpointing.atomic_file import write_atomically
from lottery.reports.chapters.accuracy import accuracy_parts
from lottery.reports.chapters.altered_tickets import altered_ticket_parts
from lottery.reports.chapters.cost import cost_parts
from lottery.reports.chapters.greedy_channels import channel_parts
from lottery.reports.chapters.greedy_neurons import greedy_parts
from lottery.reports.chapters.masks import mask_parts
from lottery.reports.chapters.overlap import overlap_parts
from lottery.reports.chapters.prac_sets import sets_parts
from lottery.reports.chapters.robustness import robustness_parts
from lottery.reports.chapters.run_list import runs_parts
from lottery.reports.chapters.stability import stability_parts
from lottery.reports.chapters.verdict import verdict_parts, with_rule
from lottery.reports.comparison.methods import Task, tasks_of
from lottery.reports.comparison.stability_families import Family, families_of
from lottery.reports.comparison.sweeps import Sweep, sweeps_of
from lottery.reports.document import Figure, Heading, Listing, Paragraph, Part, Report, Section, Table
from lottery.reports.html import html
from lottery.reports.markdown import markdown
from lottery.results import channel_runs, greedy_runs
from lottery.results.greedy_runs import GreedyRun
from lottery.results.runs import Run, read_runs
from lottery.results.stability_runs import StabilityRun
from utils import InputError


def make_report(args: argparse.Namespace) -> None:
    """The whole work of report.py; InputError if there is not one run to show."""
    runs, notes = read_runs(args.runs)
    for note in notes:
        print(f"report.py: note: {note}", file=sys.stderr)
    if not runs:
        raise InputError("there is no run to report: see the notes above")
    tasks, more = tasks_of([run for run in runs if isinstance(run, Run)])
    sweeps, others = sweeps_of([run for run in runs if isinstance(run, GreedyRun)])
    families, copies = families_of([run for run in runs if isinstance(run, StabilityRun)])
    for note in (found := more + others + copies):
        print(f"report.py: note: {note}", file=sys.stderr)
    write_report(compose(tasks, sweeps, families, notes + found, args), args.output)


def compose(
    tasks: Sequence[Task],
    sweeps: Sequence[Sweep],
    families: Sequence[Family],
    notes: Sequence[str],
    args: argparse.Namespace,
) -> Report:
    """All chapters that have something to say."""
    margin = args.margin
    chapters: dict[str, list[Part]] = {
        "Verdict": with_rule(chapter(tasks, lambda task, number: verdict_parts(task, number, margin)), margin),
        "Accuracy": chapter(tasks, lambda task, number: accuracy_parts(task, number, margin)),
        "Elastic tickets, controls and rules": altered_ticket_parts(tasks, margin),
        "Stability": stability_parts(families),
        "Robustness": chapter(tasks, robustness_parts),
        "Cost": chapter(tasks, cost_parts),
        "Masks": chapter(tasks, mask_parts),
        "Overlap of tickets": chapter(tasks, overlap_parts),
        "PrAC sets": chapter(tasks, lambda task, number: sets_parts(task, number, args.data)),
        "Pre-training and greedy selection": chapter(of_script(sweeps, greedy_runs.SCRIPT), greedy_parts),
        "Greedy selection of channels": chapter(of_script(sweeps, channel_runs.SCRIPT), channel_parts),
    }
    sections = [Section("Notes", "notes", [Listing(notes)])] if notes else []
    sections += [Section(title, anchor(title), parts) for title, parts in chapters.items() if parts]
    sections.append(Section("Runs", "runs", runs_parts(tasks, sweeps, families)))
    told = [part.text for section in sections for part in section.parts if isinstance(part, Paragraph) and part.warns]
    for text in told:
        print(f"report.py: note: {text}", file=sys.stderr)
    names = [about.name for about in (*tasks, *sweeps)] or list(dict.fromkeys(family.task for family in families))
    return Report(f"Lottery tickets: {'; '.join(names)}", sections)


def anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


def of_script(sweeps: Sequence[Sweep], script: str) -> list[Sweep]:
    return [sweep for sweep in sweeps if sweep.script == script]


def chapter(abouts: Sequence[Task] | Sequence[Sweep], parts_of: Callable[..., list[Part]]) -> list[Part]:
    """What there is to say about each task or sweep, under its name where there are several."""
    found: list[Part] = []
    for number, about in enumerate(abouts, 1):
        parts = parts_of(about, number)
        found += [Heading(about.name)] if parts and len(abouts) > 1 else []
        found += parts
    return found


def write_report(report: Report, folder: Path) -> None:
    """Its files, each whole or as it was before."""
    contents = {"report.html": html(report).encode(), "report.md": markdown(report).encode()}
    for figure in report.all(Figure):
        contents |= {f"figures/{figure.name}.png": figure.png, f"figures/{figure.name}.svg": figure.svg}
    contents |= {f"tables/{table.name}.csv": table.csv() for table in report.all(Table)}
    for part in ("figures", "tables"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_atomically(folder / name, partial(_write, content))
    print(f"{folder / 'report.html'}, the same in report.md; pictures in figures/, all numbers in tables/")


def _write(content: bytes, file) -> None:
    file.write(content)
