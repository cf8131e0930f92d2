"""The bar and the rows of the log."""

import pytest
from tqdm import tqdm

from lottery.terminal import Column
from lottery.training import progress as module
from lottery.training.progress import HEADINGS_EVERY, SHORT_BAR, Progress
from lottery.training.tables import EPOCH_COLUMNS, epoch_cells

COLUMNS = {"a": Column("a", "d", width=3), "b": Column("b", ".1f", width=4)}
HEADING = "  a     b"


def test_headings_come_first_after_other_lines_and_now_and_then(capsys):
    progress = Progress()
    for number in range(HEADINGS_EVERY + 1):
        progress.log_row(COLUMNS, {"a": number, "b": None})
    progress.log("other")
    progress.log_row(COLUMNS, {"a": 1, "b": 0.25})
    progress.log_row(COLUMNS, {"a": 2})
    rows = [f"{number:>3}     -" for number in range(HEADINGS_EVERY + 1)]
    assert capsys.readouterr().out.splitlines() == [
        HEADING, *rows[:-1], HEADING, rows[-1], "other", HEADING, "  1   0.2", "  a", "  2"]  # fmt: skip


ROW = {"epoch": 181, "lr": 0.00123456, "loss": 2.30259, "train": 100.0, "validation": 100.0, "test": 100.0,
       "density": 0.0123, "distance": 0.5, "seconds": 123.4}  # fmt: skip


@pytest.mark.parametrize("columns", [60, 80])
def test_an_epoch_fits_the_terminal_with_all_its_numbers(columns, monkeypatch, capsys):
    monkeypatch.setattr("lottery.terminal.terminal_width", lambda stream: columns)
    row = {name: value for name, value in ROW.items() if name != "density"}
    Progress().log_row(EPOCH_COLUMNS, epoch_cells(row, 182, distances=True))
    heading, cells = capsys.readouterr().out.splitlines()
    assert max(len(heading), len(cells)) <= columns
    assert cells.split() == ["181/182", "0.001235", "2.3026", "100.00", "100.00", "100.00", "0.5000", "123.4"]


def test_an_epoch_has_the_columns_that_its_training_has():
    assert "density" in epoch_cells(ROW, 182) and "distance" not in epoch_cells(ROW, 182)
    assert "validation" not in epoch_cells(ROW | {"validation": None}, 182)
    unmeasured = epoch_cells({name: value for name, value in ROW.items() if name != "distance"}, 182, distances=True)
    assert unmeasured["distance"] is None


@pytest.mark.parametrize("columns, form", [(60, SHORT_BAR), (79, SHORT_BAR), (80, None), (200, None)])
def test_the_bar_shortens_on_a_narrow_terminal(columns, form, monkeypatch):
    monkeypatch.setattr(module, "terminal_width", lambda stream: columns)
    monkeypatch.setattr(module, "tqdm", lambda **flags: tqdm(**flags | {"disable": False, "dynamic_ncols": False}))
    progress = Progress()
    with progress:
        progress.expect(70980, "round 13, epoch 118/182")
        assert progress.bar.bar_format == form
        drawn = tqdm.format_meter(33124, 70980, 4354, ncols=columns - 1, prefix="round 13, epoch 118/182", unit=" step",
                                  bar_format=form)  # fmt: skip
    assert "round 13, epoch 118/182" in drawn and "47%" in drawn and drawn.rstrip("]").endswith(" step/s")
    assert ("33124/70980" in drawn) is (form is None)
