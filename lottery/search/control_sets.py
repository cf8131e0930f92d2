"""Controls for the PrAC set: in every round as many examples as a finished PrAC run had, but other ones.

A set is worth something if a search on it finds better tickets than one on as many other examples, for as many steps:
on random ones of the same classes, on those that it leaves out, on those that one part of it alone, or the published
score of another method, would choose. Round 0 trains on all examples, as that of the run did.

Shapes: N examples in the training set, n0 of them train, n in a set.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dataset import highest, overlap, random_by_class, random_subset
from lottery.search.examples import RoundEnd
from lottery.search.prac_sets import PracSets
from lottery.search.reference_run import ReferenceRun
from lottery.training.context import TrainingContext
from utils import InputError, RandomStream, generator

BY_CLASS = ("random", "easy")  # members that are drawn of each class as many as the set has; others are ranked
EARLY = 10  # scores are of the network after one part in so many of the dense training


class ControlSets:
    """Sets as large as `sets`, one of each round and of the one after the last, of other `members`:

    random   of each class as many as the set has, drawn from all examples
    easy     the same, drawn from those that are not in the set; other classes fill up what a class lacks, and where
             all of them are too few, examples of the set
    el2n     those of largest error ||softmax(f(x)) - onehot(y)||_2 of this run's dense network early in round 0
    cet      those of this run's set before that it forgot most often
    cep      those on which two networks of this run disagree; cut at random to the size of the set

    Equals are drawn at random, and so is what fills a set where its members are too few. Errors are taken once,
    after `early` epochs of round 0: they were proposed for early training, and there every example has been trained on
    alike, while at the end of a later round they are small on its own set because it was trained on that.
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
    ):
        self.settings: dict = {}  # the run that is followed records its own (`ReferenceRun.recorded`)
        self.notes: list[str] = []
        self.sets, self.members, self.own, self.labels = sets, members, own, labels  # labels: (N,)
        self.early, self.measure, self.seed = early, errors, seed
        self.epochs = 0  # of this round
        self.errors: Tensor | None = None  # (n0,) once they are measured

    def first(self) -> Tensor:
        return self.own.first()

    def begin_round(self) -> None:
        self.epochs = 0
        self.own.begin_round()

    def observe(self, indices: Tensor, right: Tensor) -> None:
        self.own.observe(indices, right)
        self.epochs += 1
        if self.members == "el2n" and self.errors is None and self.epochs == self.early:
            self.errors = self.measure()

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        """The set, and of its examples: how many are what `members` says, how many were drawn at random to fill it, how
        many more there would have been, and how many are in the set of the run that is followed; for `el2n` also after
        how many epochs it was scored."""
        like = self.sets[end.k + 1]
        random = generator(self.seed, end.k, purpose=RandomStream.CONTROL_SETS)
        chosen, given = self.drawn(like, random) if self.members in BY_CLASS else self.ranked(end, len(like), random)
        own = min(given, len(like))
        report = {"next_set": len(chosen), "as_members": own, "filled": len(like) - own, "cut": given - own}
        report |= {"scored_after": self.early} if self.members == "el2n" else {}
        return chosen, report | {"in_run_set": overlap(chosen, like)}

    def drawn(self, like: Tensor, random: np.random.Generator) -> tuple[Tensor, int]:
        """Of each class as many as the set `like`, and for how many of them their class had enough."""
        pool = without(self.own.whole, like) if self.members == "easy" else self.own.whole
        counts = self.class_counts(like)
        given = int(torch.minimum(counts, self.class_counts(pool)).sum())
        missing = max(0, len(like) - len(pool))  # the set itself has more than half of all examples
        pool = torch.cat([pool, random_subset(like, missing, random)]) if missing else pool
        return random_by_class(pool, self.labels, counts.tolist(), random), given

    def ranked(self, end: RoundEnd, keep: int, random: np.random.Generator) -> tuple[Tensor, int]:
        """Those for which most speaks, and for how many, of all, anything does."""
        scores = self.scores(end)
        chosen = highest(self.own.whole, scores, keep, random)
        return chosen, keep if self.members == "el2n" else int((scores > 0).sum())

    def class_counts(self, indices: Tensor) -> Tensor:
        """(classes,) of each class so many."""
        return torch.bincount(self.labels[indices], minlength=int(self.labels.max()) + 1)

    def scores(self, end: RoundEnd) -> Tensor:
        """(n0,), the higher the sooner an example is chosen; 0 says nothing for it."""
        if self.members == "el2n":
            return end.look(lambda: self.errors) if end.k == 0 else self.errors  # looked once, in round 0
        if self.members == "cet":
            events = torch.zeros_like(self.own.forgetting.times)
            events[end.indices] = self.own.forgetting.events()[end.indices]
            return events[self.own.whole]
        views = self.own.views(end)
        return (views[0] != views[1]).int() if views else torch.zeros_like(self.own.whole)

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


def has_others(members: str, entries: Tensor, whole: Tensor, labels: Tensor) -> bool:
    """Whether a control of a set may hold other examples than the set itself, not all of its classes or of the data."""
    if members != "random":
        return len(entries) < len(whole)
    there, of_all = (torch.bincount(labels[indices], minlength=int(labels.max()) + 1) for indices in (entries, whole))
    return bool(((there > 0) & (there < of_all)).any())


def build_control_sets(members: str, reference: ReferenceRun, context: TrainingContext) -> ControlSets:
    """The sets of a control; InputError where the run that it follows allows no such members."""
    sets = [torch.from_numpy(entries).to(context.device) for entries in reference.sets]
    made = {name: reference.settings[name] for name in ("data_prune", "threshold", "data_rate", "cep")}
    if members == "cep" and made["cep"] == "none":
        raise InputError(f"--members cep: {reference} has --cep none, and so says of no networks whether they disagree")
    if not any(has_others(members, entries, context.whole, context.train.labels) for entries in sets[1:]):
        raise InputError(
            f"--members {members}: the sets of {reference} hold all that there is to choose from, so that this control "
            "would be that run"
        )
    return ControlSets(
        sets,
        members,
        PracSets(context.whole, len(context.train), **made, seed=context.seed),
        context.train.labels,
        early=min(reference.epochs[0], max(1, context.recipe.epochs // EARLY)),
        errors=lambda: context.evaluator.errors(context.train, context.whole),
        seed=context.seed,
    )
