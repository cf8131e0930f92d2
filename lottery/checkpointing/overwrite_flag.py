"""Whether this process has already carried out --overwrite.

The command that resumes an interrupted run must not replace that run again: once the earlier run is out of the way, the
command is printed without the flag. The process starts with `reset`; whoever replaces a run calls `mark_done`. A
command for several runs, one after the other, says by `expect` how many: until the last of them has begun, the flag is
still to be carried out.
"""

_left = 1


def expect(runs: int) -> None:
    global _left
    _left = runs


def mark_done() -> None:
    global _left
    _left -= 1


def is_done() -> bool:
    return _left <= 0


def reset() -> None:
    expect(1)
