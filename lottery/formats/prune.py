"""`prune`: the form of torch.nn.utils.prune, `NAME_orig` and `NAME_mask` for each masked layer.

A file of torch.save whose `state_dict` loads into a network pruned by that module. As there, `NAME_orig` is not
multiplied by the mask: it holds the weights that are dropped, too, where the source has them.
"""

from collections.abc import Mapping

from torch import Tensor

from lottery.checkpointing import checkpoint
from lottery.checkpointing.checkpoint import masked_state
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket, content_of_stored

NAME = "prune"
PARTS = {"state_dict": Tensor}  # what such a file has by name, beside the settings


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    state = masked_state(ticket.complete_weights, ticket.mask)
    checkpoint.write(config.output, ticket.stored(NAME, state_dict=state) | ticket.examples)


def content(stored: Mapping) -> dict:
    """The content of a checkpoint, of that of such a file."""
    state = stored["state_dict"]
    names = [key.removesuffix("_orig") for key in state if key.endswith("_orig")]
    masked = {name for name in names if f"{name}_mask" in state}
    weights = {
        name: value
        for key, value in state.items()
        if key.removesuffix("_mask") not in masked
        for name in [key.removesuffix("_orig") if key.removesuffix("_orig") in masked else key]
    }
    return content_of_stored(stored, weights, {name: state[f"{name}_mask"].bool() for name in masked})
