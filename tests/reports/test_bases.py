"""The chapter on bases: energy compaction by hand, and what becomes of files that cannot be read."""

import pytest
import torch

from lottery.bases.basis import build_basis
from lottery.bases.config import BasisConfig
from lottery.checkpointing.checkpoint import masked_in, write
from lottery.reports.chapters.bases import IN_TABLE, basis_parts
from lottery.reports.comparison.energy import SHARES, compactions, energy_shares
from lottery.reports.comparison.methods import SEARCH, group_by_task
from lottery.reports.document import Figure, Paragraph, Table
from tests.helpers import IMP, PRAC, logged, seeds

FLAT = torch.ones(2, 4)  # in cosines along the inputs two of eight coefficients
PEAK = torch.eye(4)[:2].contiguous()  # two of eight weights
DCT = IMP | {"basis": "dct", "basis_axes": ["in"]}


def with_files(run, folder, basis=None):
    """The run with weights that were PEAK at the rewinding point, and that round 0 left FLAT."""
    run.path = folder / run.name
    run.path.mkdir()
    found = basis and build_basis(BasisConfig(basis, ("in",)), {"fc.weight": FLAT}, 0, {})
    mask = {"fc.weight": torch.arange(8).view(2, 4) < 4}
    write(run.path / "0checkpoint.pth.tar", {"state_dict": {"fc.weight": FLAT}})
    state = masked_in({"fc.weight": PEAK}, mask, found)
    content = {"state_dict": state, "init_weight": {"fc.weight": PEAK}} | ({"basis": found.record()} if found else {})
    write(run.path / "1checkpoint.pth.tar", content)
    return run


def task_of(*runs):
    (task,), _ = logged(group_by_task, runs)
    return task


def test_shares_of_energy_by_hand():
    """Squares 9, 4, 2 and 1 of two layers, of 16."""
    coefficients = {"a": torch.tensor([[1.0, -3.0]]), "b": torch.tensor([2.0, 2**0.5])}
    assert energy_shares(coefficients, [0.01, 0.25, 0.5, 0.75, 1]) == pytest.approx(
        [9 / 16, 9 / 16, 13 / 16, 15 / 16, 1]
    )
    assert energy_shares({"a": torch.zeros(3)}, [0.5, 1]) == [0, 0], "nothing is shared out"


def test_energy_is_that_in_the_basis_of_the_search_before_and_after_round_0(tmp_path):
    runs = [with_files(run, tmp_path) for run in seeds(IMP, [[90, 80]] * 2)]
    runs += [with_files(run, tmp_path, "dct") for run in seeds(DCT, [[90, 80]])]
    plain, cosines = compactions(task_of(*runs).by_kind(SEARCH), [0.25, 0.5])
    assert len(plain.energies) == 2 and plain.mean == ([1, 1], pytest.approx([0.25, 0.5]))
    # e_0 and e_1 have the coefficients 0.5, 0.65, 0.5, 0.27 and 0.5, 0.27, -0.5, -0.65.
    assert cosines.mean.rewound == pytest.approx([2 * 0.653281**2 / 2, (2 * 0.653281**2 + 2 * 0.25) / 2], abs=1e-5)
    assert cosines.mean.trained == pytest.approx([1, 1])


def test_a_figure_and_a_table_of_several_bases_and_none_of_one(tmp_path):
    plain, twin = (with_files(run, tmp_path) for settings in (IMP, PRAC) for run in seeds(settings, [[90, 80]]))
    cosines = with_files(*seeds(DCT, [[90, 80]]), tmp_path, "dct")
    assert basis_parts(task_of(plain, twin)) == []
    figure, table = basis_parts(task_of(plain, twin, cosines))
    assert isinstance(figure, Figure) and isinstance(table, Table) and "means over 1 seed." in figure.caption
    assert [row[0] for row in table.rows] == ["IMP"] * len(IN_TABLE) + ["IMP, dct (in)"] * len(IN_TABLE)
    assert set(IN_TABLE) <= set(SHARES) and table.rows[-1][1:] == pytest.approx([100, 100, 100])
    (cosines.path / "0checkpoint.pth.tar").unlink()
    (note,) = basis_parts(task_of(plain, twin, cosines))
    assert isinstance(note, Paragraph) and note.warns
    assert note.text.startswith(f"{cosines.name}: the checkpoints of its first two rounds are not there")
