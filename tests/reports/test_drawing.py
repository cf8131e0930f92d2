"""Figures drawn by other processes: the same files, in order, and errors where the files are asked for.

In a process of its own, since to fork one that has threads, as those of the tests have, is not safe.
"""

import subprocess
import sys

import pytest

from tests.helpers import ROOT

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="figures are drawn by other processes on Linux alone")

BEGIN = """
import os
from functools import partial
from lottery.reports import drawing
from lottery.reports.document import Files

drawing.CORES = 2
pids = lambda number: Files(str(number).encode(), str(os.getpid()).encode(), bytes(10**6))
"""


def printed(code):
    """What a process prints that runs this code after `BEGIN`."""
    ran = subprocess.run([sys.executable, "-c", BEGIN + code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


@needs_fork
def test_figures_are_drawn_by_processes_a_few_by_each():
    """More of them than run at a time, with files larger than what fits into a pipe, asked for backwards."""
    words = printed("""
with drawing.in_processes():
    found = [drawing.drawn(partial(pids, number)) for number in range(4 * drawing.TOGETHER + 1)]
print(*(draw().png.decode() for draw in found[::-1]))
print(len({draw().svg for draw in found}), str(os.getpid()).encode() in {draw().svg for draw in found})
""")
    assert words == [*map(str, range(16, -1, -1)), "5", "False"]


@needs_fork
def test_an_error_is_raised_where_the_files_are_asked_for():
    assert printed("""
with drawing.in_processes():
    found = [drawing.drawn(partial(pids, 1)), drawing.drawn(lambda: 1 / 0)]
print(found[0]().png.decode())
try:
    found[1]()
except ZeroDivisionError as error:
    print(str(error).replace(" ", "_"))
""") == ["1", "division_by_zero"]  # fmt: skip


@needs_fork
def test_one_core_draws_at_once():
    assert printed("""
drawing.CORES = 1
with drawing.in_processes():
    print(drawing.drawn(partial(pids, 1))().svg == str(os.getpid()).encode())
""") == ["True"]  # fmt: skip


@needs_fork
def test_a_report_is_the_same_whoever_draws(tmp_path):
    """A search with a figure in most chapters: every file is equal, but for the time in the page's head."""
    script = f"""
import main_imp, report
flags = "--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --batch_size 64 --gpu -1 --pruning_times 2"
run = {str(tmp_path / "run")!r}
assert main_imp.main([*flags.split(), "--save_dir", run]) == 0
for cores in (1, 2):
    drawing.CORES = cores
    assert report.main([run, "--output", {str(tmp_path)!r} + f"/{{cores}}"]) == 0
"""
    printed(script)
    names = sorted(str(file.relative_to(tmp_path / "1")) for file in (tmp_path / "1").glob("*/*"))
    assert len(names) > 20 and sum(name.endswith(".pdf") for name in names) >= 4
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


@needs_fork
def test_figures_of_a_process_that_is_killed_are_drawn_at_once():
    assert printed("""
import signal
own = os.getpid()
def killed(number):
    if os.getpid() != own:
        os.kill(os.getpid(), signal.SIGKILL)
    return pids(number)

with drawing.in_processes():
    found = [drawing.drawn(partial(killed, number)) for number in range(2)]
print(*(draw().png.decode() for draw in found), found[0]().svg == str(own).encode())
""") == ["0", "1", "True"]  # fmt: skip
