"""The chapter of verdicts: statements that runs and their controls support, do not support, or leave open."""

from collections.abc import Sequence
from typing import NamedTuple

from lottery.reports.comparison.accuracy import NEAR_RATIO, Curve, accuracy_curves
from lottery.reports.comparison.methods import SEARCH, TICKETS, Task
from lottery.reports.comparison.statistics import FEWEST, Interval
from lottery.reports.comparison.verdict import Statement, statements
from lottery.reports.document import Cell, Column, Listing, Paragraph, Part, Table
from lottery.reports.style import percent

SUPPORTED, UNSUPPORTED, OPEN = "Supported", "Not supported", "Left open"
NETWORKS = {SEARCH: "during the search", TICKETS: "retrained"}
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
    """Sentences sorted by their outcome, and a table of the differences from controls that they rest on."""
    families = {kind: accuracy_curves(task, kind, margin) for kind in (TICKETS, SEARCH)}
    found = [(kind, statement) for kind, curves in families.items() for statement in statements(curves, margin)]
    sentences = [sentence for kind, curves in families.items() for sentence in marker_sentences(kind, curves)]
    sentences += [statement_sentence(kind, statement) for kind, statement in found]
    parts: list[Part] = []
    for outcome in (SUPPORTED, UNSUPPORTED, OPEN):
        texts = [sentence.text for sentence in sentences if sentence.outcome == outcome]
        parts += [Paragraph(f"{outcome}:"), Listing(texts)] if texts else []
    return parts + ([difference_table(found, task, number)] if found else [])


def with_rules(parts: list[Part], margin: float) -> list[Part]:
    """The verdicts of all tasks after a paragraph on the rules that decide them; nothing if there are none."""
    rules = Paragraph(
        "Winning: down to the last sparsity before the first at which the 95 % interval of (method - dense network), "
        f"over pairs of runs whose searches have the same seed, does not lie above -{margin:g} points (--margin). "
        "Equal: the same against IMP at the same sparsity; of an elastic ticket, whose density its copies decide, at "
        f"the nearest if the densities are within a factor of {NEAR_RATIO:g}. Both against networks trained for as "
        "many steps: tickets that a rule trains on from trained weights are compared with the dense network and with "
        "IMP under that rule. "
        "Better than a control: at the sparsities where the interval of the differences lies above zero. As good: "
        f"where it lies above -{margin:g} points. Fewer than {FEWEST} pairs give values, no verdict. The intervals are "
        "not corrected for multiple comparisons: of twenty, one misses by chance."
    )
    return [rules, *parts] if parts else []


# --- the dense network and IMP ----------------------------------------------------------------------------------------


def marker_sentences(kind: str, curves: Sequence[Curve]) -> list[Sentence]:
    """Down to which density each method is winning and equal, or why there is no verdict. None for dense networks, nor
    for those of a search that continues from round to round: no training is as long as theirs."""
    return [
        Sentence(outcome, f"{curve.method.name}, {NETWORKS[kind]}: {text}.")
        for curve in curves
        if any(point.density < 1 for point in curve.points) and not curve.method.continues
        for outcome, text in filter(None, [winning_sentence(curve), equal_sentence(curve)])
    ]


def winning_sentence(curve: Curve) -> Sentence:
    """Whether tickets are as good as the dense network, up to the margin."""
    differences = [point.against_dense for point in curve.points if point.density < 1]
    if curve.method.continuing_rule:
        reference = "the dense network trained on alike"
        return _marker_sentence(f"winning against {reference}", reference, differences, curve.winning)
    return _marker_sentence("winning", "the dense network", differences, curve.winning)


def equal_sentence(curve: Curve) -> Sentence | None:
    """Whether tickets are as good as IMP's, or those of a cheaper IMP as the most thorough one's, up to the margin.

    None for IMP where there is no more thorough one, and for controls, which have statements of their own."""
    differences = [point.against_near_imp for point in curve.points if point.density < 1]
    if curve.method.base or (curve.method.is_imp and not any(differences)):
        return None
    imp = "the most thorough IMP" if curve.method.is_imp else "IMP"
    reference = f"{imp} at {'nearly ' if curve.method.is_elastic else ''}the same sparsity"
    return _marker_sentence(f"equal to {imp}" if curve.method.is_imp else "equal", reference, differences, curve.equal)


def _marker_sentence(
    marker: str, reference: str, differences: Sequence[Interval | None], last: float | None
) -> Sentence:
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


def statement_sentence(kind: str, statement: Statement) -> Sentence:
    """The outcome of a statement, the densities it holds at, and the size of the differences."""
    about, sizes = f"{statement.about}, {NETWORKS[kind]}: {statement.words}", _sizes(statement)
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
    """The lowest and the highest mean difference of all densities."""
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


def difference_table(found: Sequence[tuple[str, Statement]], task: Task, number: int) -> Table:
    rows: list[list[Cell]] = [
        [
            NETWORKS[kind],
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
