"""A user's function as --dataset: how it is found, called and refused, and that runs know its data."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lottery.readers.registry import check_source, data_folder, read_source
from lottery.study.job_checks import check_jobs
from lottery.study.study_file import read_study
from models import user_code
from tests.helpers import SAVING, assert_same_files, one_sentence, run, run_killed, write_study
from tests.readers.helpers import assert_same
from tests.study.samples import QUICK
from utils import InputError

MY_DATA = """
import random
import numpy as np
from lottery.readers.arrays import source_from_arrays
from utils import SIZE

def made(seed=0):
    draw = np.random.default_rng(seed)
    labels = np.arange(90) % 3
    images = draw.integers(0, 100, (90, SIZE, SIZE), dtype=np.uint8)
    images[:, :, 2:5] += (50 * labels)[:, None, None].astype(np.uint8)
    return images[:60], labels[:60], images[60:], labels[60:]

def other():
    return made(1)

def drawn():
    images, labels, *test = made()
    order = np.random.permutation(60)
    random.shuffle(order)
    return images[order], labels[order], *test

class Pairs(list):
    classes = ["ant", "bee", "cat"]

def pairs():
    images, labels, *test = made()
    return Pairs(zip(images, labels)), Pairs(zip(*test))

def flipped():
    return source_from_arrays(*made(), flips=True, padding=2, name="something")

def folder(data):
    return made(int((data / "seed").read_text()))

def default(data=None):
    return made(0 if data is None else int((data / "seed").read_text()))

def three():
    return made()[:3]

def small():
    return tuple(part[:, :4, :4] if part.ndim == 3 else part for part in made())

def uneven():
    images, labels, *test = made()
    return [images[0], images[1, :4]], labels[:2], *test

def fails():
    raise OSError("no such disk\\nin this machine")

number = 3
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A user's project, whose modules have names of ours, as the current directory."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(user_code, "_PLACES", {})
    (tmp_path / "my_data.py").write_text(MY_DATA)
    (tmp_path / "utils.py").write_text("SIZE = 8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def test_arrays_pairs_and_a_source_are_the_same_data(project):
    arrays = read_source("my_data.py:made", None)
    assert arrays.name == "my_data.py:made" and arrays.image_size == 8 and not arrays.flips
    named = read_source(f"{project}/my_data.py:pairs", None)
    assert named.name == "my_data.py:pairs" and named.classes == ("ant", "bee", "cat")
    source = read_source("my_data:flipped", None)
    assert (source.name, source.flips, source.padding) == ("my_data:flipped", True, 2)
    for other in named, source:
        assert np.array_equal(other.train_images, arrays.train_images)
        assert np.array_equal(other.test_labels, arrays.test_labels)


def test_what_it_draws_is_the_same_in_every_run_and_disturbs_no_other_draw(project):
    np.random.seed(5)  # noqa: NPY002
    first = read_source("my_data.py:drawn", None)
    after = np.random.random()  # noqa: NPY002
    assert_same(read_source("my_data.py:drawn", None), first)
    np.random.seed(5)  # noqa: NPY002
    assert np.random.random() == after  # noqa: NPY002


def test_data_is_its_parameter_where_it_is_given(project):
    (project / "there").mkdir()
    (project / "there" / "seed").write_text("1")
    expected = read_source("my_data.py:other", None).train_images
    for function in "folder", "default":
        assert np.array_equal(read_source(f"my_data.py:{function}", Path("there")).train_images, expected)
    assert not np.array_equal(read_source("my_data.py:default", None).train_images, expected)


@pytest.mark.parametrize(
    "words, said",
    [
        ("my_data.py:three", r"--dataset my_data.py:three: the function must return four arrays .* got tuple of 3"),
        ("my_data.py:number", r"my_data.py:number\(\) raised TypeError: 'int' object is not callable"),
        ("my_data.py:small", "--dataset my_data.py:small: training images must be square .* of 8 to 512 pixels"),
        ("my_data.py:uneven", "my_data.py:uneven: training images are no array: ValueError: "),
        ("my_data.py:fails", r"my_data.py:fails\(\) raised OSError: no such disk$"),
        ("my_data.py:missing", "module my_data.py has no function missing"),
        ("no_data:made", "no module no_data is installed or lies in"),
        ("my_data.py:folder", "my_data.py:folder needs its parameter `data`: give --data"),
        ("my_data.py:folder --data nowhere", r"my_data.py:folder\(data=nowhere\) raised FileNotFoundError"),
        ("my_data.py:made --data x", "--data x has no effect: my_data.py:made has no parameter `data`"),
        ("my_data.py:made --image_size 8", "--image_size is for --dataset imagefolder and imagenet"),
        ("nowhere.py:made", "--dataset nowhere.py:made: there is no Python file nowhere.py"),
        ("cifar", r"--dataset must be one of cifar10, .* or for data of your own .*, got 'cifar'"),
        ("my_data.py", r"my_data.py is a file without the name of a function in it: give my_data.py:function"),
    ],
)
def test_each_failure_is_one_sentence(call, tmp_path, words, said):
    one_sentence(call, "main_imp", ["--dataset", *words.split(), "--arch", "lenet300"], tmp_path, said)


def test_the_form_is_checked_without_a_call(project):
    (project / "my_data.py").write_text("raise SystemExit")
    check_source("my_data.py:made", None, None)
    with pytest.raises(InputError, match="there is no Python file"):
        check_source("other.py:made", None, None)


def test_the_folder_of_a_finished_run(project):
    assert data_folder("my_data.py:made", Path("given"), None) is None, "it takes no folder"
    assert data_folder("my_data.py:folder", None, "there") == Path("there")
    assert data_folder("my_data.py:folder", Path("given"), "there") == Path("given")
    assert data_folder("mnist", None, None) == Path("data") and data_folder("mnist", Path("x"), None) == Path("x")


# --- runs -------------------------------------------------------------------------------------------------------------

SHORT = "--arch lenet300 --epochs 3 --decreasing_lr 2 --batch_size 16 --gpu -1"
GRID = 'dataset = ["my_data.py:made", "my_data.py:other"]\nseed = [0]'
SEARCH = f"{SHORT} --prune_type rewind_lt --rewind_epoch 0 --pruning_times 2"


def test_a_killed_search_on_it_goes_on_to_the_same_files(project, monkeypatch):
    flags = f"--dataset my_data.py:pairs {SEARCH} {SAVING}"
    run("PrAC", flags, project / "whole")
    run_killed(monkeypatch, "PrAC", flags, project / "broken", every=4)
    assert_same_files(project / "whole", project / "broken")
    summary = json.loads((project / "whole" / "summary.json").read_text())
    assert summary["classes"] == ["ant", "bee", "cat"] and "data" not in summary
    other = run("PrAC", f"{flags} --dataset my_data.py:other", project / "whole", expect=2)
    assert "dataset was my_data.py:pairs, is my_data.py:other; data checksum was" in other
    assert "Give the data as my_data.py:pairs returned them then to go on" in other


def test_tickets_and_sets_of_it_are_used_attacked_reported_and_refused_elsewhere(project, call):
    run("PrAC", f"--dataset my_data.py:pairs {SEARCH}", project / "search")
    ticket = project / "search" / "2checkpoint.pth.tar"
    given = f"--init_dir {ticket} --mask_dir {ticket}"
    run("train", f"--dataset my_data.py:pairs {SHORT} {given}", project / "retrained")
    assert "found on other data (--dataset my_data.py:pairs)" in run(
        "train", f"--dataset my_data.py:other {SHORT} {given}", project / "elsewhere"
    )
    status, out, err = call("main_robustness", project / "retrained", "--pgd_steps", 1)
    assert status == 0 and "pgd" in out, err
    status, _, err = call("report", project / "search", project / "retrained", "--output", project / "report")
    assert status == 0, err
    report = (project / "report" / "report.md").read_text()
    assert "my_data.py:pairs, lenet300" in report and "no examples are shown" not in report
    assert list((project / "report" / "figures").glob("examples_disagreeing_*.png"))
    followed = run("imp", f"--dataset my_data.py:other {SEARCH} --prac_set {ticket}", project / "set", expect=2)
    assert "Give the data as they were (--dataset my_data.py:pairs)" in followed


def test_an_attack_after_a_change_of_the_function_is_refused(project, call):
    run("train", f"--dataset my_data.py:made {SHORT}", project / "run")
    (project / "my_data.py").write_text(MY_DATA.replace("seed=0", "seed=2"))
    for name in ("my_data", "utils"):
        sys.modules.pop(name, None)
    user_code._PLACES.clear()
    status, _, err = call("main_robustness", project / "run", "--pgd_steps", 1)
    assert status == 2 and err.endswith("was trained on other images than my_data.py:made returns now\n")


def test_a_set_of_the_same_data_under_another_name_is_taken(project):
    run("PrAC", f"--dataset my_data.py:pairs {SEARCH}", project / "search")
    same = f"--dataset {project}/my_data.py:made {SEARCH} --prac_set {project}/search/1checkpoint.pth.tar"
    run("imp", same, project / "set")


def test_a_study_of_two_functions_has_a_directory_for_each(project):
    file = write_study(project, QUICK, ('dataset = "digits"\n', ""), ("seed = [0, 1]", GRID))
    found = read_study(file, project / "runs")
    check_jobs(found)
    assert {str(job.save_dir.parent.relative_to(project / "runs")) for job in found.jobs} == {
        f"my_data.py_{name}/seed_0" for name in ("made", "other")
    }
