"""Settings of main_stability.py, main_robustness.py and verify.py, as frozen dataclasses with the names of the flags.

Importing this module does not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from lottery.checkpointing.run_settings import NOT_RECORDED
from lottery.checkpointing.script_names import Script
from lottery.retraining.config import RetrainingConfig, TicketTrainingConfig
from lottery.training.config import DeviceConfig


@dataclass(frozen=True, kw_only=True)
class StabilityConfig(TicketTrainingConfig):
    """Two trainings of one ticket, which see the examples in different orders, and the line between their weights."""

    order_seeds: tuple[int, int]  # of copy 1 and copy 2
    points: int = 21  # where the line is measured, both ends among them, evenly spaced
    statistics_examples: int = 2000  # training examples that batch-norm statistics are re-estimated on
    copy_commands: Annotated[tuple[str, str], NOT_RECORDED]  # main_train.py commands that train copy 1 and copy 2 alone

    def copy_configs(self) -> tuple[RetrainingConfig, RetrainingConfig]:
        """The trainings of the two copies, each a run of main_train.py in a directory of its own.

        The stability run decides for both whether they begin or resume: they carry neither --resume nor --overwrite.
        """
        first, second = (self._copy_config(number) for number in (0, 1))
        return first, second

    def _copy_config(self, number: int) -> RetrainingConfig:
        run = replace(
            self.training.run,
            script=str(Script.TRAIN),
            save_dir=copy_directory(self.training.run.save_dir, number),
            command=self.copy_commands[number],
            resume=False,
            overwrite=False,
        )
        return RetrainingConfig(
            training=replace(self.training, run=run),
            ticket=self.ticket,
            control=self.control,
            rule=self.rule,
            rewind_lr=self.rewind_lr,
            order_seed=self.order_seeds[number],
        )


def copy_directory(save_dir: Path, number: int) -> Path:
    """The directory of copy 0 or 1 of the stability run in `save_dir`: copy_1 or copy_2."""
    return save_dir / f"copy_{number + 1}"


@dataclass(frozen=True)
class AttackConfig:
    """L-infinity attacks (attacks.py) on pixels in [0, 1]: what decides their result beside network and images."""

    eps: Fraction = Fraction(8, 255)  # the most that a pixel changes
    pgd_steps: int = 10
    pgd_step_size: Fraction = Fraction(2, 255)  # how much a pixel changes in each of them
    examples: int | None = None  # number of test images, drawn with `seed`; None: all of them
    seed: int = 0  # of PGD's random starts and of the examples

    def record(self) -> dict[str, str | int | None]:
        """The attack as robustness.json records it."""
        return {
            "eps": str(self.eps),
            "pgd_steps": self.pgd_steps,
            "pgd_step_size": str(self.pgd_step_size),
            "examples": self.examples,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class RobustnessConfig:
    """Runs whose networks are attacked, and how."""

    runs: Sequence[Path]  # directories of main_train.py, main_dst.py, main_imp.py and main_PrAC_imp.py
    rounds: tuple[int, ...] | None = None  # of searches: the rounds whose networks are attacked; None: all
    data: Path | None = None  # directory of the images, if not the one that the runs recorded
    device: DeviceConfig = field(default_factory=DeviceConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    command: str = ""  # as it was typed, for the records


@dataclass(frozen=True)
class VerificationConfig:
    """Checkpoints to verify, and what to assume where they do not say."""

    files: Sequence[Path]
    rate: float = 0.2  # share of the kept weights that a round prunes
    split_file: Path | None = None  # the split of the run
