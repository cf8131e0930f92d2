"""The version that runs record: what git's files say, read without git, against git itself."""

import os
import subprocess

import pytest

from lottery import __version__
from lottery.checkpointing.version import SHOWN, head_commit, suite_version


def git(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    named = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", *named, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit of one module."""
    folder = tmp_path / "suite"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "module.py").write_text("1")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_copy_without_git_has_its_release_alone(tmp_path):
    assert suite_version(tmp_path) == __version__


def test_the_commit_is_git_s_however_it_is_stored(checkout):
    commit = git(checkout, "rev-parse", "HEAD").strip()
    assert suite_version(checkout) == f"{__version__}, commit {commit[:SHOWN]}"
    git(checkout, "worktree", "add", "-q", "-b", "other/branch", "../tree")
    tree = checkout.parent / "tree"
    (tree / "module.py").write_text("2")
    git(tree, "commit", "-q", "-a", "-m", "second")
    assert head_commit(tree / ".git") == git(tree, "rev-parse", "HEAD").strip() != commit
    git(checkout, "pack-refs", "--all")
    assert head_commit(checkout / ".git") == commit
    assert head_commit(tree / ".git") == git(tree, "rev-parse", "HEAD").strip()
    git(checkout, "checkout", "-q", "--detach")
    assert head_commit(checkout / ".git") == commit


def test_changed_code_is_told_and_other_files_are_not(checkout):
    (checkout / "notes.md").write_text("")
    git(checkout, "add", "notes.md")
    assert "modified" not in suite_version(checkout)
    suite_version.cache_clear()
    (checkout / "module.py").write_text("2")
    assert suite_version(checkout).endswith(", modified")


@pytest.mark.parametrize("head", ["", "ref: refs/heads/.invalid", "no commit"])
def test_what_cannot_be_read_is_left_out(tmp_path, head):
    (tmp_path / ".git").mkdir()
    assert suite_version(tmp_path) == __version__
    suite_version.cache_clear()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert suite_version(tmp_path) == __version__


def test_a_machine_without_git_leaves_out_what_only_git_knows(checkout, monkeypatch):
    (checkout / "module.py").write_text("2")
    monkeypatch.setenv("PATH", "")
    assert suite_version(checkout).startswith(f"{__version__}, commit ") and "modified" not in suite_version(checkout)
