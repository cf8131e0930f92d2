"""Where compiled code is kept: in one folder of the user for all runs alike, unless the user names another."""

import os

import pytest
import torch
from torch._inductor.codecache import cache_dir

from lottery.training import compiled_code
from lottery.training.compiled_code import VARIABLE, cache_folder, keep_compiled_code


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_folder_is_below_the_users_cache_and_made_when_needed(home, monkeypatch):
    folder = keep_compiled_code()
    assert folder.is_dir() and folder.parent == home / ".cache" / "lottery" / "compiled"
    assert os.environ[VARIABLE] == str(folder)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert keep_compiled_code().parent == home / "elsewhere" / "lottery" / "compiled"


def test_the_users_own_folder_has_precedence(home, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/mine")
    assert keep_compiled_code() is None and os.environ[VARIABLE] == "/mine" and not list(home.iterdir())


def test_what_torch_itself_put_into_the_environment_is_not_the_users_choice(home):
    """torch names its default there as soon as anything asks for it."""
    assert cache_dir() == os.environ[VARIABLE] and "torchinductor_" in cache_dir()
    assert keep_compiled_code() is not None and cache_dir() == str(cache_folder())


def test_where_nothing_can_be_written_torch_keeps_its_own(home):
    (home / ".cache").write_text("a file")
    assert keep_compiled_code() is None and VARIABLE not in os.environ


def test_code_of_other_threads_versions_and_processors_lies_elsewhere(home, monkeypatch):
    folders = {cache_folder()}
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 64)
        folders.add(cache_folder())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "3.0")
        folders.add(cache_folder())
    with monkeypatch.context() as patch:
        patch.setattr(compiled_code, "processor_digest", lambda: "00000000")
        folders.add(cache_folder())
    assert len(folders) == 4 and cache_folder() in folders
