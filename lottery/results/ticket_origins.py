"""Where a trained ticket comes from: its search, and what was done with the ticket before it was trained.

A training records its ticket's origin; a ticket of main_elastic.py records its own in turn (`TicketFiles.origin`). A
ticket of main_init.py, which was found at once, without a search, counts as found by a search like any other.
"""

from collections.abc import Mapping

from lottery.results.runs import SEARCHES, Run
from lottery.retraining.rules import RULES
from lottery.tickets.controls import CONTROLS
from lottery.tickets.starting_weights import DENSE, DRAWN, INITIAL, STARTS, TICKET, draws_alike

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
    """Each time the ticket was carried to another network, the first one first: what the elastic ticket records."""
    return _way(run)[1]


def _way(run: Run) -> tuple[Mapping, list[Mapping]]:
    ticket, carried = run.ticket or {}, []
    while (ticket.get("settings") or {}).get("script") == CARRIED:
        carried.insert(0, ticket)
        ticket = ticket.get("source") or {}
    return ticket, carried


def start(run: Run) -> str:
    """What the weights that a training was given are to its mask: a key of `STARTS`.

    Of runs that do not record it, those of one file are told by which it was; of those of two it is taken that they go
    together.
    """
    ticket, settings = run.ticket or {}, run.settings
    if known := settings.get("ticket start") or ticket.get("start"):
        return known
    given = settings.get("init_dir"), settings.get("mask_dir")
    if given == (True, False):
        return DENSE
    if given != (False, True) or not ticket:
        return TICKET
    search = ticket.get("settings") or {}
    if not draws_alike(search, settings):
        return DRAWN
    return TICKET if search.get("prune_type") == "lt" else INITIAL


def control(run: Run) -> str | None:
    """The control that was trained: the one asked for, or what the weights that were given amount to."""
    return run.settings.get("control") or STARTS[start(run)].amounts_to


def sample(run: Run) -> tuple:
    """What tells a run of a method from the others; two that have the same are one run, made twice. Of a search its
    seed; of a training its seeds, how far the ticket was pruned, and the ticket itself, as far as it is known."""
    if run.searches:
        return (run.seed,)
    settings, origin = run.settings, run.ticket or {}
    order = settings.get("order_seed")
    orders = tuple(sorted(settings.get("order_seeds") or [run.seed if order is None else order]))
    ticket = settings.get("ticket checksum") or origin.get("checksum") or origin.get("file")
    return run.seed, orders, seed_found(run), prunings(run), run.density, run.summary.get("ticket step"), ticket


def seed_found(run: Run) -> int | str:
    """The seed of the search that found its ticket; its own if there is none."""
    return (found_by(run).get("settings") or {}).get("seed", run.seed)


def alteration(run: Run, control: bool = True, rule: bool = True) -> str:
    """What was done with a search's ticket, as it follows the name of the search; empty if nothing was.

    " of mlp2, elastic (append)" for one that was carried, ", random mask" for a control, ", fine-tuned" for one that
    was trained by a rule; a mask on weights that are not its own goes by what it is. What --rewind_lr alone does is no
    alteration: it may be the plain way of a study. Without `control` what the control is one of, without `rule` what
    the rule trained.
    """
    parts = "".join(map(_carrying, carryings(run)))
    changes = _changes(run) if control else _changes(run)[:-1]
    changes += [_name(RULES, value) for value in (run.settings.get("rule"),) if value and rule]
    return parts + "".join(f", {change}" for change in changes)


def _carrying(ticket: Mapping) -> str:
    """What an elastic ticket was made of, and how."""
    before, how = STARTS[(ticket.get("source") or {}).get("start") or TICKET].name, ticket["settings"]
    return f"{', ' if before else ''}{before} of {how['source_arch']}, elastic ({how['order'] or how['block_mapping']})"


def _changes(run: Run) -> list[str]:
    """What was trained in place of a ticket: its mask on other weights, and a control of that. A control that draws
    its own weights is one of the ticket, whatever weights were given."""
    asked = run.settings.get("control")
    given = "" if asked in CONTROLS and CONTROLS[asked].fresh else STARTS[start(run)].name
    return [name for name in (given, _name(CONTROLS, asked) if asked else "") if name]


def _name(known: Mapping, value: str) -> str:
    """What a report calls it, which may be of another version."""
    return known[value].name if value in known else value
