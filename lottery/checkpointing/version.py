"""Which version of this suite computes: the release and, in a git checkout, the commit."""

import os
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

from lottery import __version__

ROOT = Path(__file__).parents[2]
SHOWN = 12  # hexadecimal digits of a commit
CODE = ("*.py", "*.npy")  # what computes: modules, and splits of data sets
PATIENCE = 2.0  # seconds for git to compare files, which takes 3 to 30 milliseconds


@cache
def suite_version(root: Path = ROOT) -> str:
    """The version of the code in this folder as one reads it: ``0.1.0.dev0, commit 773b1ac2a8f4, modified``.

    The commit is left out where the folder is no git checkout of its own, as for an installed or copied suite. It is
    read from git's files, without git. "modified" stands there if a tracked Python file or split differs from the
    commit, which only git can say: it is left out where there is no git, or where git refuses. Files that git does not
    track are not looked at. Computed once in a process, since modules are loaded once.
    """
    commit = head_commit(root / ".git")
    if commit is None:
        return __version__
    return f"{__version__}, commit {commit[:SHOWN]}{', modified' if is_modified(root) else ''}"


def head_commit(git: Path) -> str | None:
    """The commit that is checked out, from a checkout's .git: a folder, or in a worktree the file that names one. None
    if there is none, or if it is not stored in plain files (git's reftable format)."""
    try:
        if git.is_file():
            git = git.parent / git.read_text().strip().removeprefix("gitdir: ")
        head = (git / "HEAD").read_text().strip()
        commit = branch_commit(git, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    except (OSError, ValueError):
        return None
    return commit if commit and set(commit) <= set("0123456789abcdef") else None


def branch_commit(git: Path, ref: str) -> str | None:
    """The commit of a branch, from its own file or from packed-refs. A worktree shares the branches of its repository,
    whose folder is named in `commondir`."""
    with suppress(FileNotFoundError):
        git = git / (git / "commondir").read_text().strip()
    with suppress(FileNotFoundError):
        return (git / ref).read_text().strip()
    packed = (line.split() for line in (git / "packed-refs").read_text().splitlines())
    return next((words[0] for words in packed if words[1:] == [ref]), None)


def is_modified(root: Path) -> bool:
    """Whether git sees that code in this checkout differs from its commit; no if git cannot tell."""
    # Of a git hook or a shell, these would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "diff", "--quiet", "HEAD", "--", *CODE]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 1
