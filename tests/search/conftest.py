"""Finished runs that several test files compare others with. Whoever changes one copies it first."""

import numpy as np
import pytest

from lottery.cli.prac_imp import MEMBERS
from tests.helpers import CONTROLLED, REWIND, STOPS, like_run, run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """One finished search of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    run("imp", REWIND, folder / "imp")
    run("PrAC", f"{REWIND} --eb_eps 0.02", folder / "PrAC")
    return folder


@pytest.fixture(scope="session")
def controls(tmp_path_factory):
    """A PrAC run, a control of each kind for it, IMP with its steps (its output is in `said`), and another split."""
    folder = tmp_path_factory.mktemp("controls")
    run("PrAC", f"{CONTROLLED} {STOPS}", folder / "PrAC")
    for members in MEMBERS:
        run("PrAC", like_run(folder / "PrAC", members), folder / members)
    (folder / "said").write_text(run("imp", f"{CONTROLLED} --steps_of {folder / 'PrAC'}", folder / "steps"))
    np.save(folder / "split.npy", np.random.default_rng(0).permutation(1437))
    return folder
