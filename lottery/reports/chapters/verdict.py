"""The chapter of verdicts: what runs and controls support, what they do not, and what they leave open."""

from collections.abc import Sequence
from typing import NamedTuple

from lottery.reports.comparison.accuracy import NEARLY, Curve, curves_of
from lottery.reports.comparison.methods import SEARCH, TICKETS, Task
from lottery.reports.comparison.statistics import FEWEST, Interval
from lottery.reports.comparison.verdict import Statement, statements
from lottery.reports.document import Column, Listing, Paragraph, Part, Table
from lottery.reports.style import percent

SUPPORTED, UNSUPPORTED, OPEN = "Supported", "Not supported", "Left open"
WHERE = {SEARCH: "during the search", TICKETS: "retrained"}
COLUMNS = (
    Column("networks"),
    Column("method"),
    Column("minus"),
    Column("remaining (%)", ".2f"),
    Column("pairs", "d"),
    Column("difference", "+.2f"),
    Column("low", "+.2f"),
    Column("high", "+.2f"),
    Column("supported"),
)


class Sentence(NamedTuple):
    outcome: str  # SUPPORTED, UNSUPPORTED or OPEN
    text: str


def verdict_parts(task: Task, number: int, margin: float) -> list[Part]:
    """Sentences by what came of them, and the differences from controls that they rest on."""
    families = {kind: curves_of(task, kind, margin) for kind in (TICKETS, SEARCH)}
    found = [(kind, statement) for kind, curves in families.items() for statement in statements(curves, margin)]
    sentences = [sentence for kind, curves in families.items() for sentence in of_markers(kind, curves)]
    sentences += [of_statement(kind, statement) for kind, statement in found]
    parts: list[Part] = []
    for outcome in (SUPPORTED, UNSUPPORTED, OPEN):
        texts = [sentence.text for sentence in sentences if sentence.outcome == outcome]
        parts += [Paragraph(f"{outcome}:"), Listing(texts)] if texts else []
    return parts + ([table_of(found, task, number)] if found else [])


def with_rule(parts: list[Part], margin: float) -> list[Part]:
    """Verdicts after a paragraph on what they mean; nothing where there are none."""
    rule = Paragraph(
        "Winning: down to the last sparsity before the first at which the 95 % interval of (method - dense network), "
        f"over pairs of runs whose searches have the same seed, does not lie above -{margin:g} points (--margin). "
        "Equal: the same against IMP at the same sparsity; of an elastic ticket, whose density its copies decide, at "
        f"the nearest if the densities are within a factor of {NEARLY:g}. Both against networks trained for as many "
        "steps: tickets "
        "that a rule trains on from trained weights are compared with the dense network and with IMP under that rule. "
        "Better than a control: at the sparsities where the interval of the differences lies above zero. As good: "
        f"where it lies above -{margin:g} points. Fewer than {FEWEST} pairs give values, no verdict. The intervals are "
        "not widened for their number: of twenty, one misses by chance."
    )
    return [rule, *parts] if parts else []


# --- the dense network and IMP ----------------------------------------------------------------------------------------


def of_markers(kind: str, curves: Sequence[Curve]) -> list[Sentence]:
    """What the two markers of each curve say, or why they say nothing; of dense networks they never do."""
    return [
        Sentence(outcome, f"{curve.method.name}, {WHERE[kind]}: {text}.")
        for curve in curves
        if any(point.density < 1 for point in curve.points)
        for outcome, text in filter(None, [winning(curve), equal(curve)])
    ]


def winning(curve: Curve) -> Sentence:
    differences = [point.against_dense for point in curve.points if point.density < 1]
    if curve.method.further:
        reference = "the dense network trained on alike"
        return _marker(f"winning against {reference}", reference, differences, curve.winning)
    return _marker("winning", "the dense network", differences, curve.winning)


def equal(curve: Curve) -> Sentence | None:
    """None for IMP itself, and for a control, of which the statements tell more."""
    if curve.method.is_imp or curve.method.control_of:
        return None
    differences = [point.on_a_par for point in curve.points if point.density < 1]
    reference = f"IMP at {'nearly ' if curve.method.is_carried else ''}the same sparsity"
    return _marker("equal", reference, differences, curve.equal)


def _marker(marker: str, reference: str, differences: Sequence[Interval | None], last: float | None) -> Sentence:
    pairs = max(map(_number, differences), default=0)
    if not pairs:
        return Sentence(OPEN, f"no run of {reference} with the same seed")
    if pairs < FEWEST:
        return Sentence(OPEN, f"no verdict against {reference} from {_pairs(pairs)}")
    if last is None and (first := _number(differences[0])) < FEWEST:
        return Sentence(OPEN, f"no verdict against {reference}, since there are {_pairs(first)} at the least sparsity")
    if last is None:
        return Sentence(UNSUPPORTED, f"not shown to be {marker} at any sparsity")
    return Sentence(SUPPORTED, f"{marker} down to {percent(last)} % of the weights ({100 * (1 - last):.2f} % sparse)")


# --- controls ---------------------------------------------------------------------------------------------------------


def of_statement(kind: str, statement: Statement) -> Sentence:
    """What came of a statement, where, and how large the differences are."""
    about, sizes = f"{statement.about}, {WHERE[kind]}: {statement.words}", _sizes(statement)
    if not statement.known:
        pairs = max(difference.n for _, difference in statement.differences)
        return Sentence(OPEN, f"{about}, no verdict from {_pairs(pairs)} ({sizes}).")
    if not statement.where:
        opposite = f", the opposite at {_densities(statement.contradicted)}" if statement.contradicted else ""
        return Sentence(UNSUPPORTED, f"{about}, not shown at any sparsity{opposite} ({sizes}).")
    others = [density for density, _ in statement.differences if density not in statement.where]
    but = f", not shown at {_densities(others)}" if others else ""
    where = f"at {_densities(statement.where)}" if others else "at every sparsity compared"
    return Sentence(SUPPORTED, f"{about}, {where}{but} ({sizes}).")


def _sizes(statement: Statement) -> str:
    """The mean differences, from the lowest to the highest of all sparsities."""
    means = [f"{round(difference.mean, 2) + 0:+.2f}" for _, difference in statement.differences]  # no minus zero
    means = sorted(set(means), key=float)
    by = ", by sparsity" if len(means) > 1 else ""
    return f"minus {statement.reference}: {' to '.join(means[:: max(1, len(means) - 1)])} points{by}"


def _densities(densities: Sequence[float]) -> str:
    return f"{', '.join(map(percent, densities))} % of the weights"


def _pairs(number: int) -> str:
    return f"{number or 'no'} pair{'' if number == 1 else 's'}"


def _number(difference: Interval | None) -> int:
    return difference.n if difference else 0


def table_of(found: Sequence[tuple[str, Statement]], task: Task, number: int) -> Table:
    rows = [
        [
            WHERE[kind],
            statement.about,
            statement.reference,
            100 * density,
            *difference,
            statement.supported(difference),
        ]
        for kind, statement in found
        for density, difference in statement.differences
    ]
    caption = (
        f"Methods and their controls, {task.name}: mean of the differences between runs whose searches have the same "
        "seed, in points of "
        "test accuracy, with its 95 % interval (Student's t)."
    )
    return Table(f"verdict-{number}", caption, COLUMNS, rows)
