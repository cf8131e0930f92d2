"""`compact`: the values of the kept weights alone, and the mask in one bit a weight.

A file of torch.save with `kept` ({name: the kept values, (kept,), in row-major order}), `mask` ({name: {"shape",
"bits"}}, bits as numpy.packbits packs them), `dense` (all tensors without a mask), `metadata` and `settings`. Of n
weights in float32 at density d it takes 4 d n + n / 8 bytes, less than the 4 n of the dense ones for d below 0.97, and
some hundred bytes for each tensor. The examples that the ticket was found with are left out.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lottery.checkpointing import checkpoint
from lottery.checkpointing.checkpoint import pack_mask, unpack_mask
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket, content_of_stored

NAME = "compact"
PARTS = {"dense": Tensor, "kept": Tensor, "mask": dict}  # what such a file has by name, beside the settings


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    weights = ticket.complete_weights
    kept = {name: weights.pop(name)[layer] for name, layer in ticket.mask.items()}
    checkpoint.write(config.output, ticket.stored(NAME, dense=weights, kept=kept, mask=pack_mask(ticket.mask)))


def content(stored: Mapping) -> dict:
    """The content of a checkpoint, of that of such a file."""
    mask = unpack_mask(stored["mask"], torch.device("cpu"))
    weights = stored["dense"] | {name: scattered(stored["kept"][name], layer) for name, layer in mask.items()}
    return content_of_stored(stored, weights, mask)


def scattered(values: Tensor, layer: Tensor) -> Tensor:
    """The layer's weights: `values` where it keeps them, zero elsewhere."""
    weights = torch.zeros(layer.shape, dtype=values.dtype)
    weights[layer] = values
    return weights
