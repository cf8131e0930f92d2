"""Fixtures for readers: folders of images, a cache directory of their own, no network."""

from pathlib import Path
from urllib.error import URLError

import pytest

from tests.readers.helpers import save_grey_image, save_image


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    """The user's cache directory, so that no test writes into the real one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache" / "prac-tickets"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes, nested folders, suffixes in any case, files that are no images."""
    root = tmp_path / "images"
    names = [
        "train/dog/b.png",
        "train/dog/a.PNG",
        "train/dog/10.png",
        "train/dog/9.png",
        "train/dog/B/z.png",
        "train/dog/a/y.png",
        "train/dog/a/b/x.Png",
        "train/cat/1.bmp",
        "train/cat/2.ppm",
        "train/cat.x/3.tiff",
        "test/dog/1.png",
        "test/cat/2.png",
        "test/cat/sub/1.png",
    ]
    for seed, name in enumerate(names):
        save_image(root / name, seed=seed)
    (root / "train" / "dog" / "notes.txt").write_text("not an image")
    (root / "train" / "list.csv").write_text("not a class")
    return root


@pytest.fixture
def root(tmp_path):
    """Classes a and b: twelve images each train, three each test."""
    for seed in range(24):
        save_grey_image(tmp_path / "images" / "train" / "ab"[seed % 2] / f"{seed:02}.png", seed)
    for seed in range(6):
        save_grey_image(tmp_path / "images" / "test" / "ab"[seed % 2] / f"{seed}.png", 100 + seed)
    return tmp_path / "images"
