"""PrAC sets, by hand."""

from lottery.reports.chapters.prac_sets import kept_share
from lottery.results.ticket_runs import Run
from tests.helpers import PRAC, round_row


def test_how_much_of_a_set_stays():
    runs = [
        Run("r", PRAC, [round_row(0, 90, next_set=8, next_in_set=6)]),
        Run("q", PRAC, [round_row(0, 90, next_set=4, next_in_set=1)]),
    ]
    assert kept_share(runs, 0) == 50
    assert kept_share([Run("r", PRAC, [round_row(0, 90)])], 0) is None
