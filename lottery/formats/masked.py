"""`masked`: weights that are zero where the ticket drops them, ready for `load_state_dict`, and the mask beside them.

A file of torch.save with `state_dict`, `mask` ({name: bool tensor}), `metadata` and `settings`. The mask is there of
its own, since a weight that is kept may be zero and a layer may be kept whole.
"""

from collections.abc import Mapping

from torch import Tensor

from lottery.checkpointing import checkpoint
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket, content_of_stored

NAME = "masked"
PARTS = {"state_dict": Tensor, "mask": Tensor}  # what such a file has by name, beside the settings


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    masks = {name: layer.contiguous() for name, layer in ticket.mask.items()}
    checkpoint.write(config.output, ticket.stored(NAME, state_dict=ticket.masked_weights, mask=masks) | ticket.examples)


def content(stored: Mapping) -> dict:
    """The content of a checkpoint, of that of such a file."""
    return content_of_stored(stored, stored["state_dict"], stored["mask"])
