"""What a checkpoint says about the ticket in it, by the entries of its file."""

from collections.abc import Mapping

from lottery.checkpointing.script_names import Script
from lottery.formats.exported_ticket import format_of


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


def _script(content: Mapping) -> Script | None:
    return Script.named((content.get("settings") or {}).get("script"))
