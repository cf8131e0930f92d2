"""Verdicts: statements that runs and their controls support, do not support, or leave open."""

from collections.abc import Sequence
from typing import NamedTuple

from lottery.reports.comparison.accuracy import NEAR_RATIO, Curve, accuracy_curves, of_what
from lottery.reports.comparison.methods import SEARCH, TICKETS, Task
from lottery.reports.comparison.statistics import FEWEST, Interval, holds
from lottery.reports.comparison.verdict import Statement, statements
from lottery.reports.document import Cell, Column, Folded, Listing, Paragraph, Part, Table
from lottery.reports.style import percent, points

MOST_OPEN = 4  # statements without a verdict that a sentence names
SUPPORTED, UNSUPPORTED, OPEN = "Supported", "Not supported", "Left open"
PAIRS = "runs whose searches have the same seed (of one ticket that is trained with several: whose trainings have)"
NETWORKS = {SEARCH: "during the search", TICKETS: "retrained"}
COLUMNS = (
    Column("method"),
    Column("networks"),
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
    text: str  # a whole sentence; of an OPEN one that lacks seeds: what it would be about
    missing: int = 0  # how many more seeds a verdict needs


def verdict_parts(task: Task, margin: float) -> list[Part]:
    """What the runs support, do not support and leave open. Verdicts on the searches' own networks are folded where
    there are any on retrained tickets, and so are the rules, and the differences from controls that verdicts rest
    on."""
    families = {kind: accuracy_curves(task, kind, margin) for kind in (TICKETS, SEARCH)}
    found = {kind: statements(curves, margin) for kind, curves in families.items()}
    by_kind = {
        kind: sentence_parts(
            [
                *marker_sentences(kind, curves, margin),
                *(statement_sentence(kind, each) for each in found[kind]),
            ]
        )
        for kind, curves in families.items()
    }
    parts = by_kind[TICKETS] or by_kind[SEARCH]
    if by_kind[TICKETS] and by_kind[SEARCH]:
        parts = [*parts, Folded("Verdicts on the networks that the searches themselves trained", by_kind[SEARCH])]
    if any(found.values()):
        table = difference_table([(kind, statement) for kind in found for statement in found[kind]], task)
        parts = [*parts, Folded("Differences from controls", [table])]
    return [*parts, Folded("The rules of the verdicts", [Paragraph(rules(margin))])] if parts else []


def rules(margin: float) -> str:
    return (
        "Winning: down to the last sparsity before the first at which the 95 % interval of (method - dense network), "
        f"over pairs of {PAIRS}, does not lie above -{points(margin)} (--margin). "
        "As good as IMP: the same against IMP at the same sparsity; of an elastic ticket, whose density its copies "
        f"decide, at the nearest if the densities are within a factor of {NEAR_RATIO:g}. Both against networks trained "
        "by the same recipe: a ticket that is rewound to the weights after k steps has these behind it in addition, "
        'unless it is trained with --rewind_lr; against that stands the control "dense", all weights trained from '
        "the same ones. Tickets that a rule trains on from trained weights are compared with the dense network and "
        "with IMP under that rule. Better than a control: at the sparsities where the interval of the differences lies "
        f"above zero. As good as a control: where it lies above -{points(margin)}. Fewer than {FEWEST} pairs give "
        "values, no verdict. The intervals are not corrected for multiple comparisons: of twenty, one misses by chance."
    )


def sentence_parts(sentences: Sequence[Sentence]) -> list[Part]:
    """The sentences by outcome; nothing if there are none."""
    parts: list[Part] = []
    for outcome in (SUPPORTED, UNSUPPORTED):
        texts = [sentence.text for sentence in sentences if sentence.outcome == outcome]
        parts += [Paragraph(f"{outcome}:"), Listing(texts)] if texts else []
    return parts + open_parts([sentence for sentence in sentences if sentence.outcome == OPEN])


def open_parts(sentences: Sequence[Sentence]) -> list[Part]:
    """How many more seeds each verdict needs, in one sentence for all that need as many."""
    items = [sentence.text for sentence in sentences if not sentence.missing]
    details: list[str] = []
    for missing in sorted({sentence.missing for sentence in sentences} - {0}):
        texts = [sentence.text for sentence in sentences if sentence.missing == missing]
        seeds = f"{missing} more seed{'s are' if missing > 1 else ' is'} needed for a verdict on"
        few = len(texts) <= MOST_OPEN
        items.append(f"{seeds} {'; '.join(texts)}." if few else f"{seeds} {len(texts)} statements.")
        details += [] if few else texts
    parts: list[Part] = [Paragraph(f"{OPEN}:"), Listing(items)] if items else []
    return [*parts, Folded("The statements that need more seeds", [Listing(details)])] if details else parts


# --- the dense network and IMP ----------------------------------------------------------------------------------------


def marker_sentences(kind: str, curves: Sequence[Curve], margin: float) -> list[Sentence]:
    """Down to which density each method is winning and equal, or what a verdict lacks. None for dense networks, nor
    for those of a search that continues from round to round: no training is as long as theirs."""
    return [
        sentence
        for curve in curves
        if any(point.density < 1 for point in curve.points) and not curve.method.continues
        for sentence in filter(None, [winning_sentence(kind, curve, margin), equal_sentence(kind, curve, margin)])
    ]


def winning_sentence(kind: str, curve: Curve, margin: float) -> Sentence:
    """Whether tickets are as good as the dense network, up to the margin."""
    differences = [point.against_dense for point in curve.points if point.density < 1]
    reference = "the dense network trained on alike" if curve.method.continuing_rule else "the dense network"
    claim = f"winning (as good as {reference})"
    return _marker_sentence(kind, curve, claim, reference, differences, curve.winning, margin)


def equal_sentence(kind: str, curve: Curve, margin: float) -> Sentence | None:
    """Whether tickets are as good as IMP's, or those of a cheaper IMP as the most thorough one's, up to the margin.

    None for IMP where there is no more thorough one, and for controls, which have statements of their own."""
    differences = [point.against_near_imp for point in curve.points if point.density < 1]
    if curve.method.base or (curve.method.is_imp and not any(differences)):
        return None
    imp = "the most thorough IMP" if curve.method.is_imp else "IMP"
    reference = f"{imp} at {'nearly ' if curve.method.is_elastic else ''}the same sparsity"
    return _marker_sentence(kind, curve, f"as good as {imp}", reference, differences, curve.equal, margin)


def _marker_sentence(
    kind: str,
    curve: Curve,
    claim: str,
    reference: str,
    differences: Sequence[Interval | None],
    last: float | None,
    margin: float,
) -> Sentence:
    subject = f"{of_what(curve.method)}, {NETWORKS[kind]}"
    sparse = [point.density for point in curve.points if point.density < 1]
    pairs, first = max(map(_number, differences), default=0), _number(differences[0])
    if not pairs:
        return Sentence(OPEN, f"{subject}: no run of {reference} has the same seed.")
    if not first:  # more seeds alone would not help: the reference may have no network of this sparsity
        where = f"at {percent(sparse[0])} % of the weights, where a verdict would begin"
        return Sentence(OPEN, f"{subject}: no run of {reference} has the same seed {where}.")
    if last is None and min(pairs, first) < FEWEST:
        return Sentence(OPEN, f"{subject}, against {reference}", FEWEST - min(pairs, first))
    if last is None:
        later = [density for density, each in zip(sparse, differences, strict=True) if holds(each, margin)]
        where = f"at {percent(sparse[0])} % of the weights, where a verdict begins" if later else "at any sparsity"
        but = f"; by itself the interval at {_densities(later)} would show it" if later else ""
        return Sentence(UNSUPPORTED, f"{subject}: not shown to be {claim} {where}{but}.")
    return Sentence(
        SUPPORTED, f"{subject}: {claim} down to {percent(last)} % of the weights ({sparsity(last)} % sparse)."
    )


def sparsity(density: float) -> str:
    return f"{100 * (1 - density):.2f}"


# --- controls ---------------------------------------------------------------------------------------------------------


def statement_sentence(kind: str, statement: Statement) -> Sentence:
    """The outcome of a statement, the densities it holds at, and the size of the differences."""
    about, sizes = f"{statement.about}, {NETWORKS[kind]}: {statement.words}", _sizes(statement)
    if not statement.known:
        pairs = max(difference.n for _, difference in statement.differences)
        return Sentence(OPEN, f"{about} ({sizes})", FEWEST - pairs)
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


def _number(difference: Interval | None) -> int:
    return difference.n if difference else 0


def difference_table(found: Sequence[tuple[str, Statement]], task: Task) -> Table:
    rows: list[list[Cell]] = [
        [
            statement.about,
            NETWORKS[kind],
            statement.reference,
            100 * density,
            *difference,
            statement.supported(difference),
        ]
        for kind, statement in found
        for density, difference in statement.differences
    ]
    caption = (
        f"Methods and their controls, {task.name}: mean of the differences between {PAIRS}, in points of "
        "test accuracy, with its 95 % interval (Student's t)."
    )
    return Table(f"differences_from_controls_{task.stem}", caption, COLUMNS, rows)
