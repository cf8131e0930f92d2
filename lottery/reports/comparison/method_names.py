"""Names of methods in reports, from the settings of a search or of main_init.py."""

from collections.abc import Mapping

from lottery.bases.config import CANONICAL, SINGLE, BasisConfig
from lottery.checkpointing.script_names import SEARCHES, Script
from lottery.pruning_at_init.criteria import CRITERIA, RANKINGS
from lottery.reports.comparison.set_controls import set_control_name
from lottery.results.ticket_runs import FOREIGN
from lottery.sparse_training.config import METHODS
from lottery.tickets.layer_quotas import DISTRIBUTIONS
from lottery.tickets.starting_weights import STARTS


def search_name(settings: Mapping) -> str:
    """What a search does, in a few words: "IMP, random pruning", "PrAC, random sets"."""
    if settings["script"] == FOREIGN:
        return f"{FOREIGN}, {'PrAC' if settings['sets'] else 'IMP'}"
    if settings["script"] == Script.INIT:
        return criterion_name(settings)
    if settings["script"] == Script.DST:
        return sparse_training_name(settings)
    get = settings.get
    if settings["script"] == Script.IMP:
        parts = [
            "IMP",
            basis_name(settings),
            get("pattern"),
            get("random_prune") and "random pruning",
            get("eb_eps") is not None and "early stop",
        ]
    else:
        sets = {"random": "random sets", "constent": "constent"}.get(get("data_prune"))
        cep = {"pruned": "CEP as in Algorithm 1", "none": "no CEP"}.get(get("cep"))
        parts = ["PrAC", basis_name(settings), get("pattern"), sets, cep, get("eb_eps") is None and "no early stop"]
    parts.append(set_control_name(settings))
    parts += [get("batch_selection") == "infobatch" and "InfoBatch"]
    parts += [get("between") == "continue" and "no rewinding between rounds"]
    parts += [get("prac_set") and "given set", get("prac_epochs") == "fixed" and "fixed epochs", start_name(settings)]
    return ", ".join(part for part in parts if part)


def sparse_training_name(settings: Mapping) -> str:
    """How the mask of main_dst.py changed: "GMP", "RigL, ERK", "SET, uniform by layer, dropped by sign"."""
    parts = [
        METHODS[settings["method"]].name,
        settings.get("distribution") and DISTRIBUTIONS[settings["distribution"]].name,
        settings.get("drop") == "sign" and "dropped by sign",
        settings.get("batch_selection") == "infobatch" and "InfoBatch",
        start_name(settings),
    ]
    return ", ".join(part for part in parts if part)


def basis_name(settings: Mapping) -> str:
    """In which basis it is sparse, and what it prunes as one: "dct (in)", "filters"; empty for single weights."""
    axes = tuple(settings.get("basis_axes") or ()) or None
    return BasisConfig(settings.get("basis", CANONICAL), axes, settings.get("block", SINGLE)).describe()


def criterion_name(settings: Mapping) -> str:
    """How main_init.py scored and ranked weights: "SNIP", "random mask, ERK", "SNIP at step 1000, 10 iterations"."""
    criterion, step = CRITERIA[settings["criterion"]], settings["step"]
    at = {0: "", None: " at given weights"}.get(step, f" at step {step}")
    at = " at trained weights" if settings.get("weights") == "trained" else at
    times = settings["iterations"]
    parts = [
        basis_name(settings),
        settings.get("inverted") and "inverted",
        settings.get("pattern"),
        RANKINGS[settings["ranking"]].name,
        times != (criterion.iterations or 1) and f"{times} iteration{'s' if times > 1 else ''}",
        settings["prac_set"] and "given set",
        settings["score_examples"] and f"{settings['score_examples']} examples",
    ]
    return ", ".join([f"{criterion.name}{at}", *(part for part in parts if part)])


def start_name(settings: Mapping) -> str:
    """What a search was given in place of the dense network with random weights; empty for nothing."""
    if settings["script"] not in (*SEARCHES, Script.DST):
        return ""
    if known := settings.get("ticket start"):
        return STARTS[known].begun
    given = bool(settings.get("init_dir")), bool(settings.get("mask_dir"))
    names = {(True, True): "from a ticket", (True, False): "from given weights", (False, True): "from a mask"}
    return names.get(given, "")
