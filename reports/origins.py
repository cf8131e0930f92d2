"""Where a trained ticket comes from: its search, and what was done with the ticket before it was trained.

A training records its ticket's origin; a ticket of main_elastic.py records its own in turn (`TicketFiles.origin`). A
ticket of main_init.py, which was found at once, without a search, counts as found by a search like any other.
"""

from collections.abc import Mapping

from controls import CONTROLS
from reports.runs import SEARCHES, Run
from rules import RULES

CARRIED, AT_ONCE = "main_elastic.py", "main_init.py"


def search_settings(run: Run) -> Mapping | None:
    """The settings of the search: its own, or of the one that a training's ticket comes from; None if none is known."""
    if run.searches:
        return run.settings
    settings = found_by(run).get("settings") or {}
    return settings if settings.get("script") in {*SEARCHES, AT_ONCE} else None


def prunings(run: Run) -> int | None:
    """How many prunings the ticket of a training took, in whatever network."""
    return found_by(run).get("prunings")


def density_found(run: Run) -> float | None:
    """The density of a ticket that was found at once, in whatever network, in three digits, since the same share of two
    networks' weights is not quite the same; None for one that took prunings, which tell as much."""
    settings = found_by(run).get("settings") or {}
    return float(f"{settings['kept'] / settings['prunable']:.3g}") if settings.get("script") == AT_ONCE else None


def found_by(run: Run) -> Mapping:
    """The ticket as its search left it, before it was carried anywhere; empty for the dense network."""
    return _way(run)[0]


def carryings(run: Run) -> list[Mapping]:
    """The settings of each time the ticket was carried to another network, the first one first."""
    return _way(run)[1]


def _way(run: Run) -> tuple[Mapping, list[Mapping]]:
    ticket, carried = run.ticket or {}, []
    while (ticket.get("settings") or {}).get("script") == CARRIED:
        carried.insert(0, ticket["settings"])
        ticket = ticket.get("source") or {}
    return ticket, carried


def alteration(run: Run, control: bool = True, rule: bool = True) -> str:
    """What was done with a search's ticket, as it follows the name of the search; empty if nothing was.

    " of mlp2, elastic (append)" for one that was carried, ", random mask" for a control, ", fine-tuned" for one that
    was trained by a rule. What --rewind_lr alone does is no alteration: it may be the plain way of a study. Without
    `control` what the control is one of, without `rule` what the rule trained.
    """
    parts = [
        f" of {carried['source_arch']}, elastic ({carried['order'] or carried['block_mapping']})"
        for carried in carryings(run)
    ]
    for flag, known, wanted in ("control", CONTROLS, control), ("rule", RULES, rule):
        if (value := run.settings.get(flag)) and wanted:
            parts.append(f", {known[value].name if value in known else value}")
    return "".join(parts)
