"""Files of lines that several processes write, any of which may be killed in the middle of a line."""

from pathlib import Path


def append_line(file: Path, line: str) -> None:
    """Append a line; one that another process left unfinished is closed first."""
    with file.open("ab+") as opened:
        end = opened.seek(0, 2)
        opened.seek(max(0, end - 1))
        torn = end > 0 and opened.read(1) != b"\n"
        opened.write((b"\n" if torn else b"") + line.encode(errors="surrogateescape") + b"\n")
