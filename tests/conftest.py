"""Fixtures: small networks, images and runs that the tests make themselves."""

import contextlib
import io
import lzma
from pathlib import Path

import pytest
import torch
from torch import nn

import pruner
from dataset import Images
from models.build import build
from models.families import MLPS
from models.normalization import normalization
from pruner import Ticket
from step import copy_weights

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two busy threads on a loaded machine are slower than one, and results depend on the number."""
    torch.set_num_threads(1)


class Tiny(nn.Module):
    """Small, with all that could go wrong: batch norm, several layers of unequal size, a classifier."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


def network(arch, device="meta", inputs=64, classes=10):
    """An architecture; on the meta device its names and shapes without values."""
    channels = 1 if arch in MLPS else 3
    with torch.device(device):
        normalize = normalization(
            [0.5] * channels, [0.2] * channels, image_channels=channels, network_channels=channels
        )
        return build(arch, "imagenet", classes, inputs, normalize)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def pruned_ticket(model, rate=0.4):
    """The model's weights under a mask by their magnitude."""
    dense = pruner.dense(model)
    return Ticket(pruner.prune(dense, pruner.magnitude(copy_weights(model), dense), rate), copy_weights(model))


@pytest.fixture
def tiny():
    torch.manual_seed(3)
    return Tiny()


@pytest.fixture
def images():
    """40 grey 8x8 images of 3 classes that can be told apart, but not at once."""
    random = torch.Generator().manual_seed(5)
    labels = torch.arange(40) % 3
    pixels = torch.randint(0, 200, (40, 8, 8, 1), generator=random)
    pixels[:, :, 2:5] += 18 * labels[:, None, None, None]
    return Images(pixels.to(torch.uint8), labels, padding=1, flips=True)


@pytest.fixture(scope="session")
def reference_checkpoint(tmp_path_factory):
    """Unpack a checkpoint that the 2021 code wrote: 'imp' or 'prac'."""

    def unpack(which: str) -> Path:
        path = tmp_path_factory.mktemp("reference") / "1checkpoint.pth.tar"
        path.write_bytes(lzma.decompress((GOLDEN / f"reference_{which}.pth.tar.xz").read_bytes()))
        return path

    return unpack


def write_study(folder: Path, text: str, *changes: tuple[str, str]) -> Path:
    """A study's file, each change made wherever its old words stand; they must stand somewhere."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "study.toml"
    file.write_text(text)
    return file


def run_in_process(script, *words: object) -> tuple[int, str, str]:
    """A script's exit status with these words, what it printed, what it complained about."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = script.main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def call():
    """Run a script's main in-process, on the CPU where it has the choice: (exit status, what it printed, what it
    complained about)."""

    def run(script: str, *flags: object) -> tuple[int, str, str]:
        module = __import__(script)
        chooses = any(action.dest == "gpu" for action in module.parser()._actions) and "--gpu" not in flags
        return run_in_process(module, *flags, *(["--gpu", "-1"] if chooses else []))

    return run
