"""The chapter on robustness: accuracy of dense networks and tickets under attack (main_robustness.py)."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lottery.reports.comparison.accuracy import ticket_stage
from lottery.reports.comparison.methods import DENSE, SEARCH, Method, Task
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Column, Paragraph, Part, Table

KINDS = {SEARCH: "search", DENSE: "dense"}  # all others: retrained
EXPLAINED = (
    "Test accuracy in percent on images as they are (clean) and as an attack has changed them: FGSM, one step along "
    "the sign of the gradient; PGD, several from a random start. Of the networks whose test accuracy is reported "
    "elsewhere, computed in fp32; means and standard deviations over runs. Different attacks have rows of their own."
)
NAMES = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD"}  # headings by key of a row


def robustness_parts(task: Task) -> list[Part]:
    """A row for each method, density and attack; nothing if no run was attacked."""
    rows = [row for method in task.methods for row in robustness_rows(method)]
    if not rows:
        return []
    columns = [Column("networks"), Column("method"), Column("remaining weights (%)", ".2f"), Column("runs", "d")]
    for name in NAMES.values():
        columns += [Column(name, ".2f"), Column(f"{name}, std", ".2f")]
    caption = f"Accuracy under attack, {task.name}."
    return [Paragraph(EXPLAINED), Table(f"robustness_{task.stem}", caption, [*columns, Column("attack")], rows)]


def robustness_rows(method: Method) -> Iterator[list]:
    """From dense to sparse; tickets of several seeds are grouped as `ticket_stage` has them."""
    together: dict[tuple, dict[Path, list[Mapping]]] = defaultdict(lambda: defaultdict(list))
    for run in method.runs:
        for record in run.robustness:
            for row in record["rounds"]:
                stage = ticket_stage(method, run, row), attack_text(record["attack"], row["examples"])
                together[stage][run.path].append(row)
    rows = [(attack, [averaged(each) for each in runs.values()]) for (_, attack), runs in together.items()]
    for attack, found in sorted(rows, key=lambda item: (item[0], -item[1][0]["density"])):
        density = statistics.fmean(row["density"] for row in found)
        measured = [value for name in NAMES for value in spread(row[name] for row in found)]
        yield [KINDS.get(method.kind, "retrained"), method.name, 100 * density, len(found), *measured, attack]


def averaged(rows: Sequence[Mapping]) -> dict[str, float]:
    """Of a network that was attacked from several random starts: the means over these."""
    return {name: statistics.fmean(row[name] for row in rows) for name in ("density", *NAMES)}


def attack_text(attack: Mapping, examples: int) -> str:
    """What decides the result, except for the random starts of PGD."""
    return (
        f"eps {attack['eps']}, PGD of {attack['pgd_steps']} steps of {attack['pgd_step_size']}, on {examples:,} images"
    )
