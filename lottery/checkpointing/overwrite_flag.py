"""Whether this process has already carried out --overwrite.

The command that resumes an interrupted run must not replace that run again: once the earlier run is out of the way, the
command is printed without the flag. The process starts with `reset`; whoever replaces a run calls `mark_done`.
"""

_done = False


def mark_done() -> None:
    global _done
    _done = True


def is_done() -> bool:
    return _done


def reset() -> None:
    global _done
    _done = False
