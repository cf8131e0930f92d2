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
from pathlib import Path

import torch
from torch import Tensor, nn

from lottery.checkpointing.atomic_file import write_atomically
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket
from lottery.formats.network import network, random_images
from lottery.formats.sliced import sliced
from utils import InputError, RunError

NAME = "onnx"
OPSET = 18
TOLERANCE = 1e-5  # by how much a logit may differ from torch's, relative to the largest
IMAGES = 3  # that the two are compared on; another number than the network is exported with


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    """InputError if the network cannot be built or is no network that ONNX has; RunError if its logits differ."""
    model, images = network(ticket, config), random_images(ticket, config, IMAGES)
    if config.sliced:
        model = sliced(model, ticket, images, config.ticket).network
    content = exported(model, images[:1], config.ticket)
    if find_spec("onnxruntime"):
        compare(model, images, content, config.ticket)
    write_atomically(config.output, lambda file: file.write(content))


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
