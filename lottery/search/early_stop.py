"""When a round may end before its schedule does: the early-bird test (You et al., ICLR 2020) in one round."""

from collections.abc import Callable, Mapping

from torch import Tensor

from lottery.checkpointing.checkpoint import pack_mask, unpack_mask
from lottery.patterns import Pattern
from lottery.search.config import EarlyStopConfig
from lottery.search.pruning_plan import pruned
from lottery.training.loop import Epoch
from pruner import EarlyBird, Mask, Scores, count

Criterion = Callable[[Mapping[str, Tensor], Mask], Scores]  # what each kept weight is worth; the lowest are pruned


class EarlyStop:
    """Compares the masks that pruning would give after each epoch, or every `interval` steps; off without --eb_eps.

    `criterion` is what the search prunes by, `number` how many weights of the mask it
    will drop, `pattern` the N:M pattern that it prunes to, if any. With an interval,
    masks are compared at its end, even in mid-epoch. The round still ends with a whole epoch, so that forgetting is
    counted over whole epochs.
    """

    def __init__(
        self,
        config: EarlyStopConfig,
        number: int,
        warmup: int,
        mask: Mask,
        interval: int | None,
        criterion: Criterion,
        pattern: Pattern | None = None,
    ):
        self.mask, self.kept, self.number, self.interval, self.criterion = (
            mask,
            count(mask),
            number,
            interval,
            criterion,
        )
        self.pattern = pattern
        self.detector: EarlyBird | None = None
        if config.eb_eps is not None:
            self.detector = EarlyBird(config.eb_eps, config.queue_length, warmup, config.eb_arm)
        self.eps = config.eb_eps
        self.newest: float | None = None  # the last distance of the last epoch, if one was measured in it

    def comparison_steps(self, steps: int) -> range:
        """The steps, of `steps` in the round, after which weights are compared; none if that is at epoch ends."""
        return range(self.interval, steps + 1, self.interval) if self.detector and self.interval else range(0)

    def update(self, epoch: Epoch, weights: Mapping[str, Tensor]) -> bool:
        """Compare masks at the end of `epoch`, which left the network at `weights`; whether they have settled."""
        self.newest, stop = None, False
        if self.detector is None:
            return False
        measured = len(self.detector.distances)
        compared = [weights] if self.interval is None else self._snapshots_within(epoch)
        for weights_then in compared:
            mask = pruned(self.mask, self.criterion(weights_then, self.mask), self.number, self.pattern)
            stop |= self.detector.update(epoch.number, mask, self.kept)
        if len(self.detector.distances) > measured:
            self.newest = self.detector.distances[-1]
        return stop

    def _snapshots_within(self, epoch: Epoch) -> list[Mapping[str, Tensor]]:
        return [weights for steps, weights in sorted(epoch.snapshots.items()) if steps % self.interval == 0]

    def summary(self) -> dict:
        """For the round's summary: all mask distances, and whether they armed the stop."""
        if self.detector is None:
            return {}
        return {"distances": list(self.detector.distances), "armed": self.detector.armed, "interval": self.interval}

    def warnings(self) -> list[str]:
        """What to change if the stop never armed."""
        if self.detector is None or self.detector.armed:
            return []
        seen = self.detector.distances
        spread = f"they lay between {min(seen):.4f} and {max(seen):.4f}" if seen else "none was measured"
        return [
            f"the early stop never armed: no mask distance was above --eb_eps {self.eps} ({spread}). "
            "A smaller --eb_eps arms it; with --eb_arm none it needs no arming"
        ]

    def state_dict(self) -> Callable[[], dict | None]:
        """What a resumed run needs, as it is now; the mask is packed when the state is asked for."""
        state = self.detector.state_dict() if self.detector else None
        return lambda: state and state | {"mask": pack_mask(state["mask"])}

    def load_state_dict(self, state: dict | None) -> None:
        if self.detector is not None:
            device = next(iter(self.mask.values())).device
            self.detector.load_state_dict(state | {"mask": unpack_mask(state["mask"], device)})
