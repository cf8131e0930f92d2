"""A study to begin with, which its user changes: `study.py --new NAME`."""

import shlex
from pathlib import Path

TEMPLATE = Path(__file__).with_name("new_study.toml")


def new_study(file: Path) -> str:
    """The text of a study that is going to lie in `file`."""
    return TEMPLATE.read_text(encoding="utf-8").replace("FILE.toml", shlex.quote(str(file))).replace("NAME", file.stem)
