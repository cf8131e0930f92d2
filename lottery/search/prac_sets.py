"""The PrAC set: examples that are forgotten in training, or that the dense and the sparse network predict otherwise."""

import torch
from torch import Tensor

from dataset import (
    NEVER_LEARNED,
    Forgetting,
    disagreeing,
    forgotten,
    most_forgotten,
    overlap,
    random_subset,
    union,
)
from lottery.search.config import PracConfig
from lottery.search.examples import RoundEnd
from lottery.training.context import TrainingContext
from utils import RandomStream, generator

SHOWN = 16  # examples of a kind that are named in a round's report


class PracSets:
    """The pruning-aware critical set, PrAC = CET | CEP (Zhang et al., ICML 2021, Algorithm 1).

    CET: examples of the current set forgotten more than `threshold` times (``zero_out``), or, with ``constent``, the
    int(n0 * (1 - data_rate)^(k+1)) most forgotten of them. CEP: examples of the whole training split on which two
    networks disagree: the best dense and the best sparse one of this round, none after the dense round (``trained``,
    as the authors' code does); this round's final network before and after its pruning (``pruned``, as Algorithm 1
    says); or no CEP (``none``). With ``random`` the set is as large as ``zero_out``'s, but drawn at random.
    """

    def __init__(
        self,
        whole: Tensor,
        examples: int,
        *,
        data_prune: str,
        threshold: int,
        data_rate: float,
        cep: str,
        seed: int,
    ):
        self.settings: dict = {}
        self.notes: list[str] = []
        self.whole, self.data_prune, self.threshold, self.data_rate = whole, data_prune, threshold, data_rate
        self.cep, self.seed, self.examples = cep, seed, examples
        self.dense_predictions: Tensor | None = None
        self.begin_round()

    @classmethod
    def from_config(cls, config: PracConfig, context: TrainingContext) -> "PracSets":
        """The PrAC sets of a search, chosen from its training split."""
        return cls(
            context.training_indices,
            len(context.train),
            data_prune=config.data_prune,
            threshold=config.threshold,
            data_rate=config.data_rate,
            cep=config.cep,
            seed=context.seed,
        )

    def initial_set(self) -> Tensor:
        return self.whole

    def begin_round(self) -> None:
        """Forgetting is counted afresh."""
        self.forgetting = Forgetting(self.examples, self.whole.device)

    def observe(self, indices: Tensor, right: Tensor) -> None:
        self.forgetting.update(indices, right)

    def set_to_begin(self, k: int, saved: Tensor) -> Tensor:
        return saved

    def next(self, end: RoundEnd) -> tuple[Tensor, dict]:
        cet, cep_predictions = self._cet(end), self.cep_predictions(end)
        cep = disagreeing(*cep_predictions, self.whole) if cep_predictions else self.whole[:0]
        chosen = union(cet, cep)
        report: dict[str, object] = {"cet": len(cet), "cep": len(cep), "cet_and_cep": overlap(cet, cep)}
        report |= {"next_set": len(chosen)}
        report |= {
            "most_forgotten": self._most_forgotten(end),
            "disagreeing": self._disagreements(cep, cep_predictions),
        }
        if self.data_prune == "random":
            chosen = random_subset(
                self.whole, len(chosen), generator(self.seed, end.k, purpose=RandomStream.RANDOM_SET)
            )
        return chosen, report

    def _cet(self, end: RoundEnd) -> Tensor:
        events = self.forgetting.events()
        if self.data_prune == "constent":
            keep = int(len(self.whole) * (1 - self.data_rate) ** (end.k + 1))
            return most_forgotten(events, end.indices, keep)
        return forgotten(events, end.indices, self.threshold)

    def cep_predictions(self, end: RoundEnd) -> tuple[Tensor, Tensor] | None:
        """The predictions of the two networks of CEP, each (n0,); None in a round that has no two to compare."""
        if self.cep == "pruned":
            return end.predict(end.final), end.predict(end.pruned)
        if self.cep == "trained" and end.k == 0:
            self.dense_predictions = end.predict(end.best)
        elif self.cep == "trained":
            return self.dense_predictions, end.predict(end.best)
        return None

    def _most_forgotten(self, end: RoundEnd) -> list[dict]:
        """A few examples that this round never learned (times None) or forgot most often, for the report."""
        events = self.forgetting.events()
        shown = most_forgotten(events, forgotten(events, end.indices, threshold=0), SHOWN)
        shown = shown[events[shown].argsort(descending=True, stable=True)]
        pairs = zip(shown.tolist(), events[shown].tolist(), strict=True)
        return [{"example": i, "times": None if times == NEVER_LEARNED else times} for i, times in pairs]

    def _disagreements(self, cep: Tensor, cep_predictions: tuple[Tensor, Tensor] | None) -> list[dict]:
        """A few examples of CEP, evenly spaced, and the classes that the two networks predict, for the report."""
        if cep_predictions is None or not len(cep):
            return []
        shown = cep[:: -(-len(cep) // SHOWN)].contiguous()
        places = torch.searchsorted(self.whole, shown)
        parts = (shown, cep_predictions[0][places], cep_predictions[1][places])
        return [
            {"example": i, "before": before, "after": after}
            for i, before, after in zip(*(part.tolist() for part in parts), strict=True)
        ]

    def describe(self) -> str:
        constent = self.data_prune == "constent"
        size = f"--data_rate {self.data_rate}" if constent else f"--threshold {self.threshold}"
        return f"--data_prune {self.data_prune} {size} --cep {self.cep}; a lower {size.split()[0]} gives more"

    def state_dict(self) -> dict:
        return {"forgetting": self.forgetting.state_dict(), "dense_predictions": self.dense_predictions}

    def load_state_dict(self, state: dict) -> None:
        self.forgetting.load_state_dict(state["forgetting"])
        if state["dense_predictions"] is not None:
            self.dense_predictions = state["dense_predictions"].to(self.whole.device)
