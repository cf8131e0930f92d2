"""The chapter on runs, from runs made by hand."""

import pytest

from lottery.reports.chapters.run_list import MOST_SHOWN, hardware_table
from tests.helpers import IMP, made


def on(device, number):
    """So many runs that recorded this device."""
    runs = [made("runs", IMP, [90], seed, {"environment": {"device": device}}) for seed in range(number)]
    for run in runs:
        run.name = f"{device}_{run.seed}"
    return runs


@pytest.mark.parametrize(
    "numbers, named",
    [
        ((2, 1), ["A_0, A_1", "B_0"]),
        ((MOST_SHOWN + 1, 1), [f"the other {MOST_SHOWN + 1}", "B_0"]),
        ((MOST_SHOWN + 1, 0), [f"all {MOST_SHOWN + 1}"]),
    ],
)
def test_hardware_is_listed_once_for_all_runs_that_share_it(numbers, named):
    table = hardware_table(on("A", numbers[0]) + on("B", numbers[1]))
    assert [row[-1] for row in table.rows] == named and table.folded


def test_of_two_environments_with_as_many_runs_one_is_listed():
    table = hardware_table(on("A", 20) + on("B", 20))
    assert [len(row[-1].split(", ")) for row in table.rows] == [1, 20]
