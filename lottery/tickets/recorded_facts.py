"""What a checkpoint says about the ticket in it, by the entries of its file."""

from collections.abc import Mapping

from lottery.checkpointing.script_names import Script
from lottery.formats.exported_ticket import BEST, END, UNFINISHED, format_of


def prunings(content: Mapping) -> int | None:
    """After how many prunings the ticket was found; None where the file does not say, as in files of other tools, and
    for main_channels.py, which counts its selections there."""
    state = content.get("state")
    return state if isinstance(state, int) and _script(content) != Script.CHANNELS else None


def mask_is_final(content: Mapping) -> bool:
    """Whether nothing would change the mask any more: that of a training of main_dst.py once its method has made its
    last change, any other mask at once. Files of convert.py hold final masks only."""
    if _script(content) != Script.DST or format_of(content):
        return True
    history = content.get("history") or []
    return history[-1].get("final", True) if history else content["settings"].get("method") == "static"


def is_best_epoch(content: Mapping) -> bool:
    """Whether a file of this suite is the network at its best validation epoch; a checkpoint has momentum as well, or
    None there once its training is over."""
    return "format" in content and "momentum" not in content


def trained_until(content: Mapping) -> str | None:
    """Which epoch's the trained weights are: END, BEST or UNFINISHED; None where the file does not say."""
    if format_of(content):
        return content["metadata"].get("trained_until")
    if "format" not in content:
        return None
    return BEST if is_best_epoch(content) else END if content["momentum"] is None else UNFINISHED


def accuracies(content: Mapping) -> dict[str, float]:
    """The accuracies of the trained weights in a file of this suite, in percent, as far as they were measured."""
    if format_of(content):
        return content["metadata"].get("accuracy") or {}
    row = content["history"][-1] if "format" in content and content["history"] else {}
    return {name: row[name] for name in ("validation", "test") if row.get(name) is not None}


def _script(content: Mapping) -> Script | None:
    return Script.named((content.get("settings") or {}).get("script"))
