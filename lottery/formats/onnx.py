"""`onnx`: the network with its normalisation, for programs that run ONNX; weights are zero where they are dropped.

The network takes images (n, channels, size, size) in [0, 1] and returns logits (n, classes), for any n. It has no mask
and is not read back. If onnxruntime is installed, its logits are compared with torch's before the file is written.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from lottery.checkpointing.atomic_file import write_atomically
from lottery.checkpointing.recorded_flags import run_summary
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket, suite_names
from models import build_model
from models.families import MLPS
from models.network_state import tensors
from models.units import NORMALIZATION
from pruner import Weights
from utils import InputError, RunError

NAME = "onnx"
OPSET = 18
TOLERANCE = 1e-5  # by how much a logit may differ from torch's, relative to the largest
IMAGES = 3  # that the two are compared on; another number than the network is exported with


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    """InputError if the network cannot be built or is no network that ONNX has; RunError if its logits differ."""
    model, images = network(ticket, config), random_images(ticket, config)
    content = exported(model, images[:1], config.ticket)
    if find_spec("onnxruntime"):
        compare(model, images, content, config.ticket)
    write_atomically(config.output, lambda file: file.write(content))


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
    """That of the flag or the run, or of the images that the first layer of an MLP takes."""
    if ticket.facts["arch"] in MLPS:
        inputs = next(value.shape[1] for value in ticket.weights.values() if value.ndim == 2)
        return isqrt(inputs // len(ticket.facts["normalization"]["mean"]))
    if size := config.image_size or ticket.settings.get("image_size"):
        return size
    raise InputError("--to onnx needs --image_size N, the height and width of the images: the run did not record it")


def random_images(ticket: ExportedTicket, config: ConversionConfig) -> Tensor:
    size, channels = image_size(ticket, config), len(ticket.facts["normalization"]["mean"])
    return torch.rand(IMAGES, channels, size, size, generator=torch.Generator().manual_seed(0))


def exported(model: nn.Module, image: Tensor, path: Path) -> bytes:
    """The network as ONNX. InputError for what torch cannot export."""
    file = io.BytesIO()
    try:
        with silenced():
            torch.onnx.export(
                model,
                (image,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=[{0: torch.export.Dim("n")}],
            ).save(file)
    except Exception as error:  # a network of the user's own may raise anything
        cause = error.__cause__ or error  # torch's own message explains its exporter over many lines
        reason = str(cause).strip().splitlines() or [type(cause).__name__]
        raise InputError(f"{path} cannot be written as ONNX: {reason[0]}") from None
    return file.getvalue()


@contextmanager
def silenced() -> Iterator[None]:
    """Within, torch warns of nothing and logs no graph of what it could not export."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@torch.no_grad()
def compare(model: nn.Module, images: Tensor, content: bytes, path: Path) -> None:
    """RunError unless onnxruntime computes torch's logits, on one image and on several."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for part in images[:1], images:
        logits = model(part)
        (found,) = session.run(None, {"images": part.numpy()})
        error = float((torch.from_numpy(found) - logits).abs().max() / logits.abs().max().clamp(min=1))
        if not error <= TOLERANCE:
            raise RunError(f"{path} is not written as ONNX: its logits differ from torch's by {error:.1e}")
