"""The runs that the long tests break, and what each leaves if nothing breaks it."""

from collections.abc import Mapping
from pathlib import Path

from tests.stress.processes import Job, finish
from utils import RunError

# Everything that a run gone on with could forget: momentum, warm-up, drops of the learning rate, augmentation.
SETTINGS = (
    "--dataset digits --arch tests.networks:tiny --epochs 8 --decreasing_lr 4,6 --batch_size 64 --warmup 1 --gpu -1"
)
REWIND = "--prune_type rewind_lt --rewind_epoch 1"
STOP = "--eb_eps 0.06 --eb_arm none --queue_length 2"

VARIANTS = {
    "main_imp": (
        f"{REWIND} {STOP} --pruning_times 3",
        "--prune_type pt --epochs 4 --decreasing_lr 2 --pruning_times 3",
        f"{REWIND} --rewind_lr --pruning_times 2 --seed 1",
        "--random_prune --epochs 3 --decreasing_lr 2 --pruning_times 4",
        "--prune_type rewind_lt --rewind_iteration 50 --rewind_lr --prune_classifier --val_fraction 0 "
        "--pruning_times 2",
    ),
    "main_PrAC_imp": (
        f"{REWIND} --eb_eps 0.02 --pruning_times 3",
        f"{REWIND} {STOP} --eb_interval steps --pruning_times 3 --seed 1",
        f"{REWIND} --no_early_stop --cep pruned --data_prune random --pruning_times 2",
        "--no_early_stop --data_prune constent --prac_epochs fixed --epochs 3 --decreasing_lr 2 --pruning_times 3",
        "--no_early_stop --init_dir {ticket} --mask_dir {ticket} --rewind_lr --pruning_times 2",
    ),
    "main_train": (
        "",
        "--init_dir {ticket} --mask_dir {ticket}",
        "--mask_dir {ticket} --seed 1",
        "--init_dir {ticket} --mask_dir {ticket} --rewind_lr --new_classifier",
    ),
}
TICKET = Job("main_PrAC_imp", tuple(f"{SETTINGS} {REWIND} --pruning_times 2".split()))


class Runs:
    """Unbroken runs, each made when it is first asked for, and compared with from then on."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.made: dict[tuple[str, int], tuple[Path, float]] = {}

    def job(self, script: str, variant: int) -> Job:
        """The command of one variant, without --save_dir."""
        ticket = self.folder / "ticket"
        words = f"{SETTINGS} {VARIANTS[script][variant]}"
        if "{ticket}" in words and not ticket.exists():
            self.make(TICKET, ticket)
        return Job(script, tuple(words.format(ticket=ticket / "2checkpoint.pth.tar").split()))

    def unbroken(self, script: str, variant: int) -> tuple[Path, float]:
        """The directory of a run that nothing broke, and the seconds it took."""
        key = script, variant
        if key not in self.made:
            folder = self.folder / f"{script}_{variant}"
            self.made[key] = folder, self.make(self.job(script, variant), folder)
        return self.made[key]

    def make(self, job: Job, folder: Path) -> float:
        ended = finish(saving(job, folder), self.folder / "said")
        if ended.status:
            raise RunError(f"a run that nothing broke failed: {saving(job, folder).told()}: {ended.err}")
        return ended.seconds


def saving(job: Job, folder: Path, **more: object) -> Job:
    """The job at work in `folder`, with further flags."""
    pairs: Mapping[str, object] = {"save_dir": folder, **more}
    return Job(job.script, (*job.words, *(word for name, value in pairs.items() for word in (f"--{name}", str(value)))))
