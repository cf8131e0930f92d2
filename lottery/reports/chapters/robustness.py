"""The chapter on robustness: accuracy under attack of dense networks and of tickets (main_robustness.py)."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping

from lottery.reports.comparison.accuracy import level
from lottery.reports.comparison.methods import DENSE, SEARCH, Method, Task
from lottery.reports.comparison.statistics import spread
from lottery.reports.document import Column, Paragraph, Part, Table
from lottery.results.ticket_origins import density_found, prunings

KINDS = {SEARCH: "search", DENSE: "dense"}  # and the rest: retrained
EXPLAINED = (
    "Test accuracy in percent on images as they are (clean) and as an attack has changed them: FGSM, one step along "
    "the sign of the gradient; PGD, several from a random start. Of the networks whose test accuracy is reported "
    "elsewhere, computed in fp32; means and standard deviations over runs. Different attacks have rows of their own."
)
NAMES = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD"}  # key of a row: heading


def robustness_parts(task: Task, number: int) -> list[Part]:
    """A row for each method, density and attack; nothing where no run was attacked."""
    rows = [row for method in task.methods for row in rows_of(method)]
    if not rows:
        return []
    columns = [Column("networks"), Column("method"), Column("remaining weights (%)", ".2f"), Column("runs", "d")]
    for name in NAMES.values():
        columns += [Column(name, ".2f"), Column(f"{name}, std", ".2f")]
    caption = f"Accuracy under attack, {task.name}."
    return [Paragraph(EXPLAINED), Table(f"robustness-{number}", caption, [*columns, Column("attack")], rows)]


def rows_of(method: Method) -> Iterator[list]:
    """From dense to sparse. Carried tickets go together by what they were before, since each has a density of its
    own."""
    together: dict[tuple, list[Mapping]] = defaultdict(list)
    for run in method.runs:
        for found in run.robustness:
            for row in found["rounds"]:
                what = (prunings(run), density_found(run)) if method.is_carried else level(row["density"])
                together[what, attack_text(found["attack"], row["examples"])].append(row)
    for (_, attack), found in sorted(together.items(), key=lambda item: (item[0][1], -item[1][0]["density"])):
        density = statistics.fmean(row["density"] for row in found)
        measured = [value for name in NAMES for value in spread(row[name] for row in found)]
        yield [KINDS.get(method.kind, "retrained"), method.name, 100 * density, len(found), *measured, attack]


def attack_text(attack: Mapping, examples: int) -> str:
    """What decides the result, but the chance of PGD's starts."""
    return (
        f"eps {attack['eps']}, PGD of {attack['pgd_steps']} steps of {attack['pgd_step_size']}, on {examples:,} images"
    )
