"""Run a script: turn errors and signals into one sentence and an exit status."""

import os
import select
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

from lottery import ranks
from lottery.checkpointing import overwrite_flag
from lottery.checkpointing.signals import Interrupted, interruptible
from lottery.cli.parser import UnknownFlag
from lottery.cli.registry import flag_names
from lottery.cli.suggestions import explain
from lottery.terminal import Verbatim, print_lines
from utils import InputError, RunError, is_out_of_memory

UNREAD = 128 + 13  # SIGPIPE, a name that Windows does not have
OUT_OF_MEMORY = "A smaller --batch_size needs less, and so does --precision bf16"


def run_script(
    work: Callable[[Sequence[str] | None], None],
    name: str,
    argv: Sequence[str] | None,
    goes_on: bool = True,
    out_of_memory: str = OUT_OF_MEMORY,
) -> int:
    """Run `work` on the script's arguments (those of the command line if None) and return its exit status.

    0: done. 2: bad input. 1: the run failed. 130 or 143: ended by SIGINT or SIGTERM; a script that `goes_on` then
    prints the command that resumes it. 141: ended since nobody reads its output any more, as behind `| head`; the
    shell's status of a command that SIGPIPE ended. `out_of_memory` is the advice printed when memory runs out.
    """
    overwrite_flag.reset()
    if isinstance(sys.stdout, TextIOWrapper):  # names of files need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with interruptible(), ranks.only_first_speaks():
            check_ranks(name)
            work(argv)
            ranks.leave()
    except UnknownFlag as error:
        return _fail(name, error, f"error: {explain(error, name)}", 2)
    except InputError as error:
        return _fail(name, error, f"error: {error}", 2)
    except (RunError, OSError) as error:
        if isinstance(error, BrokenPipeError) and (unread := unread_streams()):
            return _stop_unread(name, argv, unread, goes_on)
        return _fail(name, error, f"error: {error}", 1)
    except Interrupted as signal:
        again = f"; what it found is kept. To go on: {resuming_command(name, argv)}" if goes_on else ""
        return _fail(name, signal, f"{signal}{again}", signal.status)
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        return _fail(name, error, f"error: out of memory; what was written is kept. {out_of_memory}", 1)
    return 0


def resuming_command(name: str, argv: Sequence[str] | None) -> str:
    """The command that resumes this run: the same one, without --overwrite if that has been carried out."""
    script, given = (sys.argv[0], sys.argv[1:]) if argv is None else (name, argv)
    kept = [flag for flag in given if flag != "--overwrite" or not overwrite_flag.is_done()]
    return shlex.join([*ranks.launcher(), script, *kept])


def check_ranks(name: str) -> None:
    """InputError if torchrun started several processes of a script that is for one."""
    if ranks.count() > 1 and "shards" not in flag_names(name):
        raise InputError(f"torchrun started {ranks.count()} processes, this script computes in one: start it by python")


def unread_streams() -> list[TextIO]:
    """Those of stdout and stderr whose reader has ended."""
    return [stream for stream in (sys.stdout, sys.stderr) if _has_lost_its_reader(stream)]


def _has_lost_its_reader(stream: TextIO) -> bool:
    try:
        place = stream.fileno()
    except (OSError, ValueError):  # no file of the system's, as in tests
        return False
    if not hasattr(select, "poll"):  # Windows
        return not stream.isatty()
    poll = select.poll()
    poll.register(place, 0)  # errors are always told
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _stop_unread(name: str, argv: Sequence[str] | None, unread: Sequence[TextIO], goes_on: bool) -> int:
    """As SIGPIPE ends other programs, without a word on what is not read; a run's resuming command goes to stderr. What
    the streams still hold is dropped, of which Python would complain at its end."""
    for stream in unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if goes_on and "--dry_run" not in (argv or sys.argv):
        _fail(name, BrokenPipeError(), f"what read its output has ended; what it found is kept. To go on: "
              f"{resuming_command(name, argv)}", UNREAD)  # fmt: skip
    return UNREAD


def _fail(name: str, error: BaseException, message: str, status: int) -> int:
    if not ranks.speaks_of(error):
        return status
    line = f"{name}: {message}" if ranks.is_first() else f"{name}: rank {ranks.rank()}: {message}"
    line = line if status in (1, 2) else Verbatim(line)  # a signal's has a command to paste
    with suppress(BrokenPipeError):  # where nobody reads it, the exit status is what is left to say
        print_lines(line, stream=sys.stderr)
    return status
