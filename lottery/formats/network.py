"""The network of a ticket that leaves, built as its run recorded it, and images for it."""

from collections.abc import Mapping
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
        classes=facts.get("classes") or classes(ticket.weights, config.ticket, ticket.settings),
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


def size_facts(weights: Weights, facts: Mapping, path: Path, settings: Mapping) -> dict[str, int]:
    """The number of classes and the size of the images of the network whose weights are in the file `path`, as far as
    they follow from the order of its tensors, which some formats do not keep. None for an unknown network."""
    if "arch" not in facts or "normalization" not in facts:
        return {}
    size = {"image_size": mlp_image_size(weights, facts)} if facts["arch"] in MLPS else {}
    return {"classes": classes(weights, path, settings)} | size


def classes(weights: Weights, path: Path, settings: Mapping) -> int:
    """As many as the run had, or as its last layer has outputs."""
    names = run_summary(path.parent, settings).get("classes")
    return len(names) if names else next((value.shape[0] for value in reversed(weights.values()) if value.ndim), 0)


def mlp_image_size(weights: Weights, facts: Mapping) -> int:
    """Of the images that the first layer of an MLP takes."""
    inputs = next((value.shape[1] for value in weights.values() if value.ndim == 2), 0)
    return isqrt(inputs // len(facts["normalization"]["mean"]))


def image_size(ticket: ExportedTicket, config: ConversionConfig) -> int:
    """That of the flag, the run or its data set, or of the images that the first layer of an MLP takes."""
    facts = ticket.facts
    if facts["arch"] in MLPS:
        return facts.get("image_size") or mlp_image_size(ticket.weights, facts)
    usual = {**IMAGE_SIZES, **FIXED_SIZES}.get(facts.get("dataset"))
    if size := config.image_size or ticket.settings.get("image_size") or usual:
        return size
    raise InputError(
        f"--to {config.to} needs --image_size N, the height and width of the images: the run did not record them"
    )


def random_images(ticket: ExportedTicket, config: ConversionConfig, number: int) -> Tensor:
    """So many images for the network, (number, channels, size, size) in [0, 1]."""
    size, channels = image_size(ticket, config), len(ticket.facts["normalization"]["mean"])
    return torch.rand(number, channels, size, size, generator=torch.Generator().manual_seed(0))
