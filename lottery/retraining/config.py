"""Settings of main_train.py, as frozen dataclasses. Importing this module does not import torch."""

from dataclasses import dataclass, field

from lottery.tickets.config import TicketConfig
from lottery.training.config import TrainingConfig


@dataclass(frozen=True)
class TicketTrainingConfig:
    """A ticket's training, whatever gives it the order of its examples."""

    training: TrainingConfig
    ticket: TicketConfig = field(default_factory=TicketConfig)
    control: str | None = None  # a key of `tickets.controls.CONTROLS`: train not the ticket but this control
    rule: str | None = None  # a key of `retraining.rules.RULES`
    rewind_lr: bool = False  # begin in the schedule where the ticket's weights stand, as every rule does


@dataclass(frozen=True)
class RetrainingConfig(TicketTrainingConfig):
    """A training of main_train.py."""

    order_seed: int | None = None  # of order, augmentation and dropout; the run's seed if None
