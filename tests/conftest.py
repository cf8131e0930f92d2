"""Fixtures: small networks, images and runs that the tests make themselves."""

import getpass
import io
import lzma
import tempfile
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from lottery.cli.registry import flag_names
from tests.helpers import GOLDEN, Tiny, grey_images, run_in_process


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two busy threads on a loaded machine are slower than one, and results depend on the number."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def compiled_code_of_torch():
    """Code that tests compile is kept from one run of them to the next, but not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/compiled_by_tests_of_{getpass.getuser()}")
        yield


@pytest.fixture(autouse=True, scope="session")
def quick_pictures():
    """Pictures of runs have one pixel: drawing one takes as long as training for three epochs. Yields what draws.

    Those of reports, which are saved with metadata, are drawn.
    """
    real = Figure.savefig
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG")

    def savefig(figure, file, **options):
        return real(figure, file, **options) if "metadata" in options else file.write(pixel.getvalue())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield real


@pytest.fixture(autouse=True, scope="session")
def figures_drawn_here():
    """The processes of tests have threads, beside which it is not safe to fork; and fixtures look at what is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lottery.reports.drawing.CORES", 1)
        yield


@pytest.fixture
def tiny():
    torch.manual_seed(3)
    return Tiny()


@pytest.fixture
def images():
    return grey_images()


@pytest.fixture(scope="session")
def reference_checkpoint(tmp_path_factory):
    """Unpack a checkpoint that the 2021 code wrote: 'imp' or 'prac'."""

    def unpack(which: str) -> Path:
        path = tmp_path_factory.mktemp("reference") / "1checkpoint.pth.tar"
        path.write_bytes(lzma.decompress((GOLDEN / f"reference_{which}.pth.tar.xz").read_bytes()))
        return path

    return unpack


@pytest.fixture
def call():
    """Run a script's main in-process, on the CPU where it has the choice: (exit status, what it printed, what it
    complained about)."""

    def run(script: str, *flags: object) -> tuple[int, str, str]:
        module = __import__(script)
        chooses = "gpu" in flag_names(f"{script}.py") and "--gpu" not in flags
        return run_in_process(module, *flags, *(["--gpu", "-1"] if chooses else []))

    return run
