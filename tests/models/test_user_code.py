"""Networks in files of a user's own, whose modules may be called as ours are."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

import utils
from models import build_model, check_arch, user_code
from models.torch_settings import GLOBAL_SETTINGS
from utils import InputError

ROOT = Path(__file__).parents[2]
FORM = {"classes": 10, "channels": 1, "image_size": 8, "mean": [0.5], "std": [0.25]}

# A user's project: four of its modules are called as ours are, one of which (verify) we may not have imported yet.
MODELS = """
from layers import Hidden
from torch import nn
from utils import WIDTH

def net(num_classes):
    import dataset
    return nn.Sequential(nn.Conv2d(3, WIDTH, dataset.KERNEL), nn.AdaptiveAvgPool2d(1), Hidden(WIDTH, num_classes))
"""
LAYERS = """
from torch import nn

class Hidden(nn.Sequential):
    def __init__(self, inputs, classes):
        super().__init__(nn.Flatten(), nn.Linear(inputs, 6), nn.ReLU(), nn.Linear(6, classes))
"""
PROJECT = {"models": MODELS, "utils": "WIDTH = 5", "dataset": "KERNEL = 3", "verify": "", "layers": LAYERS}


def write_project(folder: Path, **changes: str) -> Path:
    folder.mkdir()
    for name, text in (PROJECT | changes).items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(autouse=True)
def untouched(monkeypatch, tmp_path):
    """sys.path is as it was afterwards, and modules of the test are gone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(user_code, "_PLACES", {})
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The project; the current directory is another."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return write_project(tmp_path / "project")


def widths(model):
    return [tuple(value.shape) for name, value in model.state_dict().items() if name.endswith("weight")]


EXPECTED = [(5, 3, 3, 3), (6, 5), (10, 6)]


def test_a_file_is_found_with_its_siblings_whatever_they_are_called(project):
    assert widths(build_model(f"{project}/models.py:net", **FORM)) == EXPECTED
    assert widths(build_model("../project/models.py:net", **FORM)) == EXPECTED


def test_a_module_in_the_current_directory_comes_before_ours(project, monkeypatch):
    monkeypatch.chdir(project)
    assert widths(build_model("models:net", **FORM)) == EXPECTED


def test_our_modules_are_ours_again(project):
    ours = {name: sys.modules[name] for name in ("models", "utils", "models.build")}
    build_model(f"{project}/models.py:net", **FORM)
    assert all(sys.modules[name] is module for name, module in ours.items())
    assert importlib.import_module("utils").InputError is utils.InputError
    assert Path(importlib.import_module("verify").__file__).parent == ROOT, "one that was not imported before"


def test_nothing_is_imported_twice(project):
    (project / "dataset.py").write_text("from pathlib import Path\nPath('times').open('a').write('x')\nKERNEL = 3")
    first, second = (build_model(f"{project}/models.py:net", **FORM) for _ in range(2))
    assert Path("times").read_text() == "x" and type(first.network[2]) is type(second.network[2])


def test_two_files_of_one_name_have_each_their_own_siblings(project, tmp_path):
    other = write_project(tmp_path / "other", utils="WIDTH = 4", layers=LAYERS.replace("6", "7"))
    assert widths(build_model(f"{project}/models.py:net", **FORM)) == EXPECTED
    assert widths(build_model(f"{other}/models.py:net", **FORM)) == [(4, 3, 3, 3), (7, 4), (10, 7)]
    assert widths(build_model(f"{project}/models.py:net", **FORM)) == EXPECTED


def test_a_file_in_a_package_may_import_relatively(project):
    (project / "models.py").unlink()
    package = project / "models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "vgg.py").write_text(MODELS.replace("from utils", "from .build"))
    (package / "build.py").write_text("from utils import WIDTH")
    assert widths(build_model(f"{project}/models/vgg.py:net", **FORM)) == EXPECTED


def test_a_file_may_import_ours(project):
    (project / "own.py").write_text("import pruner\nfrom models import net\nassert pruner.prunable")
    assert widths(build_model(f"{project}/own.py:net", **FORM)) == EXPECTED
    import pruner

    assert sys.modules["pruner"] is pruner


def test_ours_are_not_imported_a_second_time_for_it(tmp_path):
    (tmp_path / "own.py").write_text(
        "from models.families import MLPS\nfrom torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    table = MLPS\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, num_classes))\n"
    )
    from models.families import MLPS

    assert build_model(f"{tmp_path}/own.py:Net", **FORM).network.table is MLPS


def test_a_file_of_a_package_that_is_imported_already():
    """The whole package would be imported anew, which torchvision cannot be: its operators have been registered."""
    import torchvision

    file = Path(torchvision.__file__).parent / "models" / "squeezenet.py"
    form = FORM | {"image_size": 32}
    network = build_model(f"{file}:squeezenet1_1", **form).network
    assert isinstance(network, torchvision.models.SqueezeNet) and sys.modules["torchvision"] is torchvision


def test_a_file_called_as_a_module_of_python(project):
    (project / "random.py").write_text(MODELS)
    import random

    assert widths(build_model(f"{project}/random.py:net", **FORM)) == EXPECTED
    assert sys.modules["random"] is random


def test_relative_imports_in_a_pass_find_their_package(project):
    package = project / "models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "later.py").write_text("factor = 2")
    (package / "net.py").write_text(
        "from torch import nn\n"
        "class Late(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        from .later import factor\n"
        "        return factor * super().forward(x.mean((2, 3)))\n"
        "def net(num_classes): return nn.Sequential(nn.Conv2d(3, 3, 3), Late(3, num_classes))\n"
    )
    assert build_model(f"{project}/models/net.py:net", **FORM)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_paths_that_a_module_adds_are_kept(project, tmp_path):
    write_project(tmp_path / "lib", utils="WIDTH = 8", late="")
    (project / "utils.py").unlink()
    (project / "models.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path / 'lib')!r})\n{MODELS}")
    assert widths(build_model(f"{project}/models.py:net", **FORM))[0] == (8, 3, 3, 3)
    importlib.import_module("late")


@pytest.mark.parametrize(
    "arch, said",
    [
        ("nowhere.py:net", r"arch nowhere.py:net: there is no Python file nowhere.py"),
        ("folder/models:net", r"there is no Python file folder/models"),
        ("some.py", r"arch some.py is a file without the name of a function in it: give some.py:function$"),
        ("some.py:", r"path/to/file.py:function, got 'some.py:'"),
        ("some.py:not-a-name", r"path/to/file.py:function, got 'some.py:not-a-name'"),
    ],
)
def test_a_path_is_checked_without_torch(arch, said):
    with pytest.raises(InputError, match=said):
        check_arch(arch, "imagenet")


def test_a_name_that_only_we_have_is_no_network_of_a_user(project):
    with pytest.raises(InputError, match=r"module models has no function net; it was found in this suite, .* as path"):
        build_model("models:net", **FORM)


def test_each_failure_of_a_file_is_one_sentence(project):
    (project / "lost.py").write_text("import nothing_of_that_name")
    (project / "parses.py").write_text("import argparse\nargparse.ArgumentParser().parse_args(['--unknown'])")
    for name, said in {"lost": "ModuleNotFoundError: No module named 'nothing_of_", "parses": "SystemExit: 2"}.items():
        with pytest.raises(InputError, match=rf"^importing .*{name}.py raised {said}"):
            build_model(f"{project}/{name}.py:net", **FORM)


SETTING = """
import torch
torch.set_num_threads(3)
torch.set_grad_enabled(False)
torch.set_default_device("meta")
torch.set_float32_matmul_precision("medium")
torch.use_deterministic_algorithms(True)

def net(num_classes):
    torch.set_default_device("cpu")
    torch.set_default_dtype(torch.float64)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                               torch.nn.Linear(4, num_classes)).float()
"""


def test_what_a_module_sets_for_the_whole_process_is_set_back(project):
    (project / "settings.py").write_text(SETTING)
    build_model(f"{project}/settings.py:net", **FORM)
    assert torch.get_default_dtype() == torch.float32 and torch.zeros(1).device.type == "cpu"
    assert torch.get_num_threads() == 1 and torch.is_grad_enabled()
    assert torch.get_float32_matmul_precision() == "highest" and not torch.are_deterministic_algorithms_enabled()


def test_what_a_module_does_when_it_is_imported_decides_no_weights_and_no_directory(project):
    """It would do so for the first network alone, since nothing is imported twice."""
    (project / "chance.py").write_text(
        SETTING.replace("torch.set_num_threads", "torch.manual_seed") + "import os\nos.chdir('/')\n"
    )
    here, weights = Path.cwd(), []
    for _ in range(2):
        torch.manual_seed(7)
        weights.append(build_model(f"{project}/chance.py:net", **FORM).network[0].weight)
    assert torch.equal(*weights) and Path.cwd() == here


def test_the_newer_switches_of_number_formats_are_set_back_too(project):
    """While one of them contradicts the older ones, torch raises where these are read."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this torch has none")
    switch = 'torch.backends.cuda.matmul.fp32_precision = "tf32"\n'
    (project / "newer.py").write_text(SETTING.replace("torch.set_float32_matmul", f"{switch}torch.set_float32_matmul"))
    (project / "mixed.py").write_text(SETTING.replace('torch.set_float32_matmul_precision("medium")', switch))
    before = [read() for read, _ in GLOBAL_SETTINGS]
    for name in "newer", "mixed":
        build_model(f"{project}/{name}.py:net", **FORM)
        assert [read() for read, _ in GLOBAL_SETTINGS] == before


def test_a_network_of_doubles_is_refused(project):
    (project / "settings.py").write_text(SETTING.replace(".float()", ""))
    with pytest.raises(InputError, match=r"settings.py:net fails on images of 8 pixels with RuntimeError.*double"):
        build_model(f"{project}/settings.py:net", **FORM)


def test_a_search_with_it_and_a_second_command_that_goes_on(project, call, monkeypatch):
    """Scripts import much of ours late, when a user's modules of those names have been imported long ago."""
    monkeypatch.chdir(project)
    words = "--dataset digits --arch models:net --epochs 1 --decreasing_lr 1 --save_dir run --pruning_times 1".split()
    assert call("main_imp", *words)[0] == 0
    status, out, _ = call("main_imp", *words[:-1], "2")
    assert status == 0 and "round 1" in out and Path("run/2checkpoint.pth.tar").exists()


HELPED = """
import utils
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)
    def forward(self, x):
        return self.fc(utils.pool(self.conv(x)))
"""


def test_torch_compile_knows_its_modules_from_ours(project):
    (project / "models.py").write_text(HELPED)
    (project / "utils.py").write_text("FACTOR = 3\ndef pool(x):\n    return FACTOR * x.mean((2, 3))")
    model, images = build_model(f"{project}/models.py:Net", **FORM), torch.rand(2, 1, 8, 8)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images), model(images))


@pytest.mark.parametrize("named", ["a/b/my_data.py:photos", "/a/my_data.py:photos", "my_data.py:photos"])
def test_the_short_name_of_a_function_is_without_the_folder(named):
    assert user_code.short_name(named) == "my_data.py:photos"
    assert user_code.short_name("a.b:photos") == "a.b:photos" and user_code.short_name("res20s") == "res20s"
