"""What a method is called, by its settings: a search, or how a ticket was found at once."""

from collections.abc import Mapping

from lottery.pruning_at_init.criteria import CRITERIA, RANKINGS
from lottery.results.runs import FOREIGN, SEARCHES
from lottery.results.ticket_origins import AT_ONCE
from lottery.tickets.starting_weights import STARTS


def describe(settings: Mapping) -> str:
    """What a search does, in few words: "IMP, random pruning", "PrAC, random sets"."""
    if settings["script"] == FOREIGN:
        return f"{FOREIGN}, {'PrAC' if settings['sets'] else 'IMP'}"
    if settings["script"] == AT_ONCE:
        return describe_at_once(settings)
    get = settings.get
    if settings["script"] == "main_imp.py":
        parts = ["IMP", get("random_prune") and "random pruning", get("eb_eps") is not None and "early stop"]
    else:
        sets = {"random": "random sets", "constent": "constent"}.get(get("data_prune"))
        critical = {"pruned": "CEP as in Algorithm 1", "none": "no CEP"}.get(get("cep"))
        parts = ["PrAC", sets, critical, get("eb_eps") is None and "no early stop"]
    parts.append(members(settings))
    parts += [get("prac_set") and "given set", get("prac_epochs") == "fixed" and "fixed epochs", beginning(settings)]
    return ", ".join(part for part in parts if part)


MEMBERS = {  # of the sets of a control, by --members
    "random": "random members",
    "easy": "easy members",
    "el2n": "members by EL2N",
    "cet": "members by forgetting",
    "cep": "members by CEP",
}


def set_control(settings: Mapping) -> str | None:
    return settings.get("members") or ("steps_of" if settings.get("steps_of") else None)


def members(settings: Mapping) -> str:
    """What stands in for the PrAC sets of the run that a search follows; empty for one that follows none."""
    found = set_control(settings)
    return "as many steps as PrAC" if found == "steps_of" else MEMBERS.get(found, f"members {found}") if found else ""


def beginning(settings: Mapping) -> str:
    """What a search was given to begin with, instead of the dense network with random weights; empty for nothing."""
    if settings["script"] not in SEARCHES:
        return ""
    if known := settings.get("ticket start"):
        return STARTS[known].begun
    given = bool(settings.get("init_dir")), bool(settings.get("mask_dir"))
    return {(True, True): "from a ticket", (True, False): "from given weights", (False, True): "from a mask"}.get(
        given, ""
    )


def describe_at_once(settings: Mapping) -> str:
    """How a ticket was found at once: "SNIP", "random mask, ERK", "SynFlow at step 1000, inverted, 10 iterations"."""
    criterion, step = CRITERIA[settings["criterion"]], settings["step"]
    at = {0: "", None: " at given weights"}.get(step, f" at step {step}")
    at = " at trained weights" if settings.get("weights") == "trained" else at
    times = settings["iterations"]
    parts = [
        settings.get("inverted") and "inverted",
        RANKINGS[settings["ranking"]].name,
        times != (criterion.iterations or 1) and f"{times} iteration{'s' if times > 1 else ''}",
        settings["prac_set"] and "given set",
        settings["score_examples"] and f"{settings['score_examples']} examples",
    ]
    return ", ".join([f"{criterion.name}{at}", *(part for part in parts if part)])
