"""Which tickets of a task's searches are compared with each other, and what pairs of them have in common."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lottery.bases.config import CANONICAL, OF_A_RUN
from lottery.checkpointing.run_directory import RunDirectory
from lottery.reports.comparison.accuracy import ROUNDING, log_ratio
from lottery.reports.comparison.cost import SearchCosts
from lottery.reports.comparison.masks import Overlap, evenly_spaced, overlap, same_layers
from lottery.results.ticket_runs import FOREIGN, Run
from pruner import Mask
from utils import InputError

MOST_LEVELS = 5  # of density; masks are read from checkpoints, which is slow


class FoundTicket(NamedTuple):
    """A ticket that a run found."""

    run: Run
    prunings: int | None  # None of a run that finds a single ticket
    density: float


class Pair(NamedTuple):
    """Two runs' tickets of one density."""

    density: float
    first: FoundTicket
    second: FoundTicket
    overlap: Overlap


@dataclass
class Pairs:
    """Pairs of tickets, from dense to sparse, and what is wrong with files: names of runs by problem."""

    pairs: list[Pair] = field(default_factory=list)
    problems: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))


def found_tickets(run: Run) -> list[FoundTicket]:
    """The tickets of a search, from dense to sparse: those that it trained and the newest, which it did not."""
    if not run.numbers_rounds:
        return [FoundTicket(run, None, run.density)] if run.density < 1 else []
    trained = [FoundTicket(run, row["round"], row["density"]) for row in run.rounds if row["density"] < 1]
    return trained + newest_ticket(run)


def newest_ticket(run: Run) -> list[FoundTicket]:
    """The ticket that the last finished round pruned to, if its file is there and it recorded what it kept."""
    last = run.rounds[-1]
    k = last["round"] + 1
    if run.script == FOREIGN or "kept" not in last or not RunDirectory(run.path).checkpoint(k).exists():
        return []
    density = SearchCosts(run).ticket_density(k)
    return [FoundTicket(run, k, density)] if density < last["density"] else []


def levels_of_density(runs: Sequence[Run]) -> list[list[FoundTicket]]:
    """The tickets of these runs in groups of one density up to rounding, from dense to sparse; those groups that have
    tickets of several runs."""
    levels: list[list[FoundTicket]] = []
    for ticket in sorted((each for run in runs for each in found_tickets(run)), key=lambda ticket: -ticket.density):
        if not levels or log_ratio(levels[-1][0].density, ticket.density) > ROUNDING:
            levels.append([])
        levels[-1].append(ticket)
    return [level for level in levels if len(level) > 1]


def chosen_levels(levels: Sequence[list[FoundTicket]]) -> list[list[FoundTicket]]:
    """A few of the levels, evenly spaced, the sparsest among them; and all where a run has its only ticket."""
    few = evenly_spaced(range(len(levels)), MOST_LEVELS)
    return [
        level for place, level in enumerate(levels)
        if place in few or any(ticket.prunings is None for ticket in level)
    ]  # fmt: skip


def ticket_pairs(runs: Sequence[Run]) -> Pairs:
    """All pairs of tickets of one density whose masks have the same layers, in the same basis. Masks are read level by
    level."""
    found = Pairs()
    for level in chosen_levels(levels_of_density(runs)):
        masks: list[tuple[FoundTicket, Mask]] = []
        for ticket in level:
            try:
                masks.append((ticket, read_mask(ticket)))
            except InputError as error:
                found.problems[str(error)][ticket.run.name] = None
        found.pairs += [
            Pair(level[0].density, one, other, overlap(mask, its))
            for (one, mask), (other, its) in itertools.combinations(in_order(masks, runs), 2)
            if mask and same_layers(mask, its) and in_one_basis(one.run, other.run)
        ]
    return found


def in_one_basis(one: Run, other: Run) -> bool:
    """Whether entries of the two runs' masks stand for the same coefficients. Those of rotations drawn from a seed, or
    of a run's own singular vectors, stand for others in every run."""
    bases = [(run.settings.get("basis", CANONICAL), run.settings.get("basis_axes")) for run in (one, other)]
    return bases[0] == bases[1] and bases[0][0] not in OF_A_RUN


def in_order(masks: Sequence[tuple[FoundTicket, Mask]], runs: Sequence[Run]) -> list[tuple[FoundTicket, Mask]]:
    """The tickets in the order of their runs."""
    places = {id(run): place for place, run in enumerate(runs)}
    return sorted(masks, key=lambda pair: places[id(pair[0].run)])


def read_mask(ticket: FoundTicket) -> Mask:
    """The ticket's mask. InputError, for readers of the report, if it cannot be read."""
    if not RunDirectory(ticket.run.path).checkpoint(ticket.prunings).exists():
        raise InputError("not all checkpoints are there; the tickets that are missing are compared with none.")
    try:
        return ticket.run.mask(ticket.prunings)
    except InputError as error:
        raise InputError(f"{error}; its ticket is compared with none.") from None
