"""Controls for the PrAC set: each round trains on as many examples as in a finished PrAC run, but on other ones.

A PrAC set is worth something if a search on it finds better tickets than searches on other sets of the same size, for
as many steps: random examples of the same classes, examples that the set leaves out, those that CET or CEP alone would
choose, or those that the score of another method (EL2N) would. Round 0 trains on all examples, as in the run.

Shapes: N examples in the training set, n0 of them train, n in a set.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dataset import highest, overlap, random_by_class, random_subset
from lottery.search.coverage import coverage_centric
from lottery.search.examples import RoundEnd
from lottery.search.prac_sets import PracSets
from lottery.search.reference_run import ReferenceRun
from lottery.training.context import TrainingContext
from utils import InputError, RandomStream, generator

BY_CLASS = ("random", "easy")  # members that are drawn of each class as many as the set has; others are ranked
BY_ERROR = ("el2n", "ccs")  # members that are chosen by the EL2N error
EARLY = 10  # scores are of the network after one part in so many of the dense training


class ControlSets:
    """Sets as large as `sets`, one of each round and of the one after the last, of other `members`:

    random   of each class as many as the set has, drawn from all examples
    easy     the same, drawn from those that are not in the set; other classes fill up what a class lacks, and where
             all of them are too few, examples of the set
    el2n     those of largest error ||softmax(f(x)) - onehot(y)||_2 of this run's dense network early in round 0
    cet      those of this run's set before that it forgot most often
    cep      those on which two networks of this run disagree; cut at random to the size of the set
    ccs      those that cover all difficulties (coverage.py), the difficulty being the error of el2n; the hardest share
             `ccs_beta` is left out

    Ties are broken at random, and short sets are topped up at random. EL2N errors are measured once, after `early`
    epochs of round 0: they were proposed for early training, when every example has been trained on equally often. In
    later rounds they would be small on a round's own set because it was trained on that.
    """

    def __init__(
        self,
        sets: list[Tensor],
        members: str,
        own: PracSets,
        labels: Tensor,
        early: int,
        errors: Callable[[], Tensor],
        seed: int,
        ccs_beta: float = 0.0,
    ):
        self.ccs_beta = ccs_beta
        self.settings: dict = {}  # the run that is followed records its own (`ReferenceRun.settings_to_record`)
        self.notes: list[str] = []
        self.sets, self.members, self.own, self.labels = sets, members, own, labels  # labels: (N,)
        self.early, self.measure, self.seed = early, errors, seed
        self.epochs = 0  # of this round
        self.errors: Tensor | None = None  # (n0,) once they are measured

    def initial_set(self) -> Tensor:
        return self.own.initial_set()

    def begin_round(self) -> None:
        self.epochs = 0
        self.own.begin_round()

    def observe(self, indices: Tensor, right: Tensor) -> None:
        self.own.observe(indices, right)
        self.epochs += 1
        if self.members in BY_ERROR and self.errors is None and self.epochs == self.early:
            self.errors = self.measure()

    def set_to_begin(self, k: int, saved: Tensor) -> Tensor:
        return saved

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        """The next set, and for the summary: its size, how many examples are as `members` says (`as_members`), were
        drawn at random to top it up (`filled`) or left out as too many (`cut`), and how many are in the set of the run
        (`in_run_set`); for `el2n` also the epochs before scoring."""
        like = self.sets[end.k + 1]
        random = generator(self.seed, end.k, purpose=RandomStream.CONTROL_SETS)
        chosen, given = self.choose(like, end, random)
        own = min(given, len(like))
        report = {"next_set": len(chosen), "as_members": own, "filled": len(like) - own, "cut": given - own}
        report |= {"scored_after": self.early} if self.members in BY_ERROR else {}
        return chosen, report | {"in_run_set": overlap(chosen, like)}

    def choose(self, like: Tensor, end: RoundEnd, random: np.random.Generator) -> tuple[Tensor, int]:
        """As many examples as in `like`, and how many there are as `members` says."""
        if self.members in BY_CLASS:
            return self.draw_by_class(like, random)
        if self.members == "ccs":
            random = generator(self.seed, end.k, purpose=RandomStream.COVERAGE)
            return coverage_centric(self.own.whole, self.scores(end), len(like), self.ccs_beta, random), len(like)
        return self.take_highest(end, len(like), random)

    def draw_by_class(self, like: Tensor, random: np.random.Generator) -> tuple[Tensor, int]:
        """As many examples of each class as in `like`, and how many of them the pool of their class could supply."""
        pool = without(self.own.whole, like) if self.members == "easy" else self.own.whole
        counts = self.class_counts(like)
        given = int(torch.minimum(counts, self.class_counts(pool)).sum())
        missing = max(0, len(like) - len(pool))  # the set itself has more than half of all examples
        pool = torch.cat([pool, random_subset(like, missing, random)]) if missing else pool
        return random_by_class(pool, self.labels, counts.tolist(), random), given

    def take_highest(self, end: RoundEnd, keep: int, random: np.random.Generator) -> tuple[Tensor, int]:
        """The highest-scoring examples, and how many have a score above 0 at all."""
        scores = self.scores(end)
        chosen = highest(self.own.whole, scores, keep, random)
        return chosen, keep if self.members == "el2n" else int((scores > 0).sum())

    def class_counts(self, indices: Tensor) -> Tensor:
        """(classes,): how many of these examples each class has."""
        return torch.bincount(self.labels[indices], minlength=int(self.labels.max()) + 1)

    def scores(self, end: RoundEnd) -> Tensor:
        """(n0,): higher scores are chosen first; 0 means no reason to choose the example."""
        if self.members in BY_ERROR:
            return end.predict(lambda: self.errors) if end.k == 0 else self.errors  # looked once, in round 0
        if self.members == "cet":
            events = torch.zeros_like(self.own.forgetting.times)
            events[end.indices] = self.own.forgetting.events()[end.indices]
            return events[self.own.whole]
        cep_predictions = self.own.cep_predictions(end)
        return (cep_predictions[0] != cep_predictions[1]).int() if cep_predictions else torch.zeros_like(self.own.whole)

    def describe(self) -> str:
        return f"--members {self.members}"

    def state_dict(self) -> dict:
        return {"own": self.own.state_dict(), "errors": self.errors, "epochs": self.epochs}

    def load_state_dict(self, state: dict) -> None:
        self.own.load_state_dict(state["own"])
        self.epochs = state["epochs"]
        if state["errors"] is not None:
            self.errors = state["errors"].to(self.own.whole.device)


def without(indices: Tensor, others: Tensor) -> Tensor:
    return indices[~torch.isin(indices, others)]


def can_differ(members: str, entries: Tensor, whole: Tensor, labels: Tensor) -> bool:
    """Whether a control for the set `entries` can hold other examples than the set itself."""
    if members != "random":
        return len(entries) < len(whole)
    there, of_all = (torch.bincount(labels[indices], minlength=int(labels.max()) + 1) for indices in (entries, whole))
    return bool(((there > 0) & (there < of_all)).any())


def build_control_sets(
    members: str, ccs_beta: float | None, reference: ReferenceRun, context: TrainingContext
) -> ControlSets:
    """The sets of a control, with the share `ccs_beta` of "ccs"; InputError if the run that it follows allows no such
    members."""
    sets = [torch.from_numpy(entries).to(context.device) for entries in reference.sets]
    made = {name: reference.settings[name] for name in ("data_prune", "threshold", "data_rate", "cep")}
    if members == "cep" and made["cep"] == "none":
        raise InputError(f"--members cep: {reference} has --cep none, and so says of no networks whether they disagree")
    if not any(can_differ(members, entries, context.training_indices, context.train.labels) for entries in sets[1:]):
        raise InputError(
            f"--members {members}: the sets of {reference} hold all that there is to choose from, so that this control "
            "would be that run"
        )
    return ControlSets(
        sets,
        members,
        PracSets(context.training_indices, len(context.train), **made, seed=context.seed),
        context.train.labels,
        early=min(reference.epochs[0], max(1, context.recipe.epochs // EARLY)),
        errors=lambda: context.evaluator.el2n(context.train, context.training_indices),
        seed=context.seed,
        ccs_beta=ccs_beta or 0.0,
    )
