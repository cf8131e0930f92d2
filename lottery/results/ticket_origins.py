"""The origin of a retrained ticket: the search that found it, and how it was altered before it was trained.

A retraining records its ticket's origin; a ticket of main_elastic.py records that of its source ticket in turn. A
ticket of main_init.py, pruned at initialization without a search, counts as found by a search like any other.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lottery.bases.basis import basis_in
from lottery.checkpointing.checkpoint import read, split_ticket
from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import SEARCHES, Script
from lottery.results.stability_runs import StabilityRun
from lottery.results.ticket_runs import FOREIGN, Run
from lottery.retraining.rules import RULES
from lottery.tickets.controls import CONTROLS
from lottery.tickets.load import checksum
from lottery.tickets.starting_weights import DENSE, DRAWN, INITIAL, STARTS, TICKET, draws_alike
from pruner import Ticket
from utils import InputError


def search_settings(run: Run | StabilityRun) -> Mapping | None:
    """The settings of the search: the run's own, or those of the search that found its ticket; None if unknown."""
    if run.is_search:
        return run.settings
    settings = found_ticket(run).get("settings") or {}
    return settings if settings.get("script") in {*SEARCHES, Script.DST, Script.INIT} else None


def search_seed(run: Run | StabilityRun) -> int | str:
    """The seed of the search that found the run's ticket; the run's own if there is none."""
    return (found_ticket(run).get("settings") or {}).get("seed", run.seed)


def prunings(run: Run | StabilityRun) -> int | None:
    """The number of prunings after which the run's ticket was found, in whatever network; None if unknown."""
    return found_ticket(run).get("prunings")


def found_density(run: Run | StabilityRun) -> float | None:
    """The density of a ticket whose script prunes to one, main_init.py or main_dst.py, in whatever network; None for a
    ticket found by prunings.

    Rounded to three digits, since the same fraction of the weights of two networks is not quite the same number.
    """
    settings = found_ticket(run).get("settings") or {}
    script = settings.get("script")
    if script == Script.INIT:
        return float(f"{settings['kept'] / settings['prunable']:.3g}")
    return float(f"{settings['density']:.3g}") if script == Script.DST else None


def found_ticket(run: Run | StabilityRun) -> Mapping:
    """What is recorded of the ticket as its search found it, before any transfer; empty for the dense network."""
    return _origin(run)[0]


def transfers(run: Run | StabilityRun) -> list[Mapping]:
    """What is recorded of each elastic ticket that was made on the way from the found ticket, the first one first."""
    return _origin(run)[1]


def _origin(run: Run | StabilityRun) -> tuple[Mapping, list[Mapping]]:
    ticket: Mapping = run.ticket or {}
    elastic: list[Mapping] = []
    while (ticket.get("settings") or {}).get("script") == Script.ELASTIC:
        elastic.insert(0, ticket)
        ticket = ticket.get("source") or {}
    return ticket, elastic


def start_kind(run: Run | StabilityRun) -> str:
    """How the starting weights of a training belong to its mask: a key of `STARTS`.

    Runs of older versions do not record it. If they were given one file, it follows from which one that was; if two,
    they are assumed to belong together.
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


def control_kind(run: Run | StabilityRun) -> str | None:
    """The control that was trained: that of --control, or the one that the given weights are equivalent to."""
    return run.settings.get("control") or STARTS[start_kind(run)].amounts_to


def sample_key(run: Run | StabilityRun) -> tuple:
    """Identifies a run among those of its method; two runs with the same key repeat each other.

    For a search its seed, and its one density if it has one; for a training its seeds, how far the ticket was pruned,
    and the ticket, as far as known.
    """
    if run.is_search:
        return run.seed, run.settings.get("density")
    settings, origin = run.settings, run.ticket or {}
    order = settings.get("order_seed")
    orders = tuple(sorted(settings.get("order_seeds") or [run.seed if order is None else order]))
    ticket = settings.get("ticket checksum") or origin.get("checksum") or origin.get("file")
    return run.seed, orders, search_seed(run), prunings(run), run.density, run.summary.get("ticket step"), ticket


def alteration(run: Run | StabilityRun, control: bool = True, rule: bool = True) -> str:
    """How a ticket was altered after its search, to follow the name of the search; empty if it was not.

    " of mlp2, elastic (append)" for a transfer, ", random mask" for a control or for a mask on weights that are not its
    own, ", fine-tuned" for a rule. --rewind_lr alone is no alteration, since a study may use it throughout. Without
    `control` the last of the controls is left out, which gives the name of what it is a control of; without `rule` the
    rule is.
    """
    parts = "".join(map(_transfer_text, transfers(run)))
    changes = _changes(run) if control else _changes(run)[:-1]
    changes += [_name(RULES, value) for value in (run.settings.get("rule"),) if value and rule]
    return parts + "".join(f", {change}" for change in changes)


def _transfer_text(ticket: Mapping) -> str:
    """The network that an elastic ticket comes from, and how it was mapped."""
    before, how = STARTS[(ticket.get("source") or {}).get("start") or TICKET].name, ticket["settings"]
    return f"{', ' if before else ''}{before} of {how['source_arch']}, elastic ({how['order'] or how['block_mapping']})"


def _changes(run: Run | StabilityRun) -> list[str]:
    """What was trained in place of the ticket: its mask on other weights, and a control of that. A control that draws
    its own weights is a control of the ticket, whatever weights were given."""
    asked = run.settings.get("control")
    given = "" if asked in CONTROLS and CONTROLS[asked].fresh else STARTS[start_kind(run)].name
    return [name for name in (given, _name(CONTROLS, asked) if asked else "") if name]


def _name(known: Mapping, value: str) -> str:
    """Its name in reports; the value itself if it is of another version."""
    return known[value].name if value in known else value


# --- tickets of unknown origin ----------------------------------------------------------------------------------------


def find_tickets_(runs: Sequence[Run]) -> None:
    """Enter the origin of the tickets of retrainings that do not record it: found by the ticket's checksum if its
    search is among the runs, else noted as unknown."""
    nameless = [run for run in runs if run.script == Script.TRAIN and run.ticket is None and run.density < 1]
    if not nameless:
        return
    wanted = {run.settings.get("ticket checksum") for run in nameless} - {None}  # which no ticket has
    found: dict[str | None, dict] = {}
    for search in (run for run in runs if run.is_search and run.script != FOREIGN):
        for k in range(1, len(search.rounds) + 1) if search.numbers_rounds else [None]:
            file = RunDirectory(search.path).checkpoint(k)
            origin = {"file": str(file), "prunings": k, "settings": search.settings}
            found |= dict.fromkeys({_ticket_checksum(file)} & wanted, origin)
    for run in nameless:
        run.summary["ticket"] = found.get(run.settings.get("ticket checksum"))
        if run.ticket is None:
            run.summary["ticket"] = {"file": "unknown", "prunings": None, "settings": None}
            run.notes.append("which search its ticket comes from is not recorded, and no run given here has it.")


def _ticket_checksum(file: Path) -> str | None:
    """The checksum of the ticket in a checkpoint, as main_train.py records it; None if it cannot be read."""
    try:
        content = read(file)
        mask = split_ticket(content["state_dict"])[1]
        return checksum(Ticket(mask, content["init_weight"], basis=basis_in(content) if mask else None))
    except (InputError, KeyError, AttributeError):
        return None
