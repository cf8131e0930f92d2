"""The network of a ticket that leaves, built as its run recorded it, and images for it."""

from math import isqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from lottery.checkpointing.recorded_flags import run_summary
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket, suite_names
from lottery.readers.registry import FIXED_SIZES, IMAGE_SIZES
from models import build_model
from models.families import MLPS
from models.network_state import tensors
from models.units import NORMALIZATION
from pruner import Weights
from utils import InputError


def network(ticket: ExportedTicket, config: ConversionConfig) -> nn.Module:
    """The network in evaluation mode, with the ticket's weights."""
    facts = ticket.facts
    if missing := [name for name in ("arch", "normalization") if name not in facts]:
        raise InputError(f"{config.ticket} does not say its {missing[0]}, so that its network cannot be built")
    model = build_model(
        facts["arch"],
        stem=facts.get("stem", "imagenet"),
        classes=classes(ticket, config.ticket),
        channels=len(facts["normalization"]["mean"]),
        image_size=image_size(ticket, config),
        mean=facts["normalization"]["mean"],
        std=facts["normalization"]["std"],
    )
    load_(model, suite_names(ticket.masked_weights, facts), config.ticket)
    return model.eval()


def load_(model: nn.Module, weights: Weights, path: Path) -> None:
    """Give the network these weights; InputError if they are not all of its own."""
    own = tensors(model)
    wrong = [
        name
        for name, value in own.items()
        if not name.startswith(f"{NORMALIZATION}.") and (name not in weights or weights[name].shape != value.shape)
    ]
    if wrong:
        raise InputError(
            f"{path} does not fit the network that its run recorded: {wrong[0]} is another there; is --image_size that "
            "of the run?"
        )
    with torch.no_grad():
        for name, value in own.items():
            if name in weights:
                value.copy_(weights[name])


def classes(ticket: ExportedTicket, path: Path) -> int:
    """As many as the run had, or as its last layer has outputs."""
    names = run_summary(path.parent, ticket.settings).get("classes")
    return len(names) if names else [value for value in ticket.weights.values() if value.ndim][-1].shape[0]


def image_size(ticket: ExportedTicket, config: ConversionConfig) -> int:
    """That of the flag, the run or its data set, or of the images that the first layer of an MLP takes."""
    if ticket.facts["arch"] in MLPS:
        inputs = next(value.shape[1] for value in ticket.weights.values() if value.ndim == 2)
        return isqrt(inputs // len(ticket.facts["normalization"]["mean"]))
    usual = {**IMAGE_SIZES, **FIXED_SIZES}.get(ticket.facts.get("dataset"))
    if size := config.image_size or ticket.settings.get("image_size") or usual:
        return size
    raise InputError(
        f"--to {config.to} needs --image_size N, the height and width of the images: the run did not record them"
    )


def random_images(ticket: ExportedTicket, config: ConversionConfig, number: int) -> Tensor:
    """So many images for the network, (number, channels, size, size) in [0, 1]."""
    size, channels = image_size(ticket, config), len(ticket.facts["normalization"]["mean"])
    return torch.rand(number, channels, size, size, generator=torch.Generator().manual_seed(0))
