"""Runs on several ranks, killed and gone on with by another number of them, against one process, to the bit.

    python -m tests.stress.ranks --count 4

Of each variant the first run has two ranks and the second four, and nothing befalls them. In every further one a rank
is killed at a random moment, three times, and 1, 2 or 4 ranks go on. Exit status 0 if each ends with the very files of
one process, which computed all shards itself, else 1.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lottery.cli.script import run_script
from tests.ranks import started, wait
from tests.readers.helpers import save_photos
from tests.stress import campaign
from tests.stress.campaign import Campaign, conclude, keep, run_cases, workplace
from tests.stress.same_files import differences
from utils import InputError, RunError, listed

COUNTS, KILLS = (1, 2, 4), 3
LONGEST = 1800.0  # seconds of a run on shared cores; beyond it hangs
SHARED = "--epochs 3 --decreasing_lr 2 --warmup 1 --gpu -1 --shards 4 --save_interval 0"
DIGITS = f"--dataset digits --batch_size 200 {SHARED}"  # the last batch has 18 or more examples
TINY = f"{DIGITS} --arch tests.networks:tiny"
FILES = f"--dataset imagenet --data {{photos}} --image_size 16 --batch_size 17 {SHARED} --arch tests.ranks:faulty"
SEARCH = "--prune_type rewind_lt --rewind_iteration 3 --pruning_times 2"
VIT = "timm:vit_tiny_patch16_224,patch_size=4,depth=1,embed_dim=12,num_heads=2"

VARIANTS = {  # a script and its flags
    "search": ("main_PrAC_imp", f"{TINY} {SEARCH}"),
    "res20s": ("main_PrAC_imp", f"{DIGITS} --arch res20s --batch_size 128 {SEARCH}"),
    "early stop": ("main_imp", f"{TINY} {SEARCH} --eb_eps 0.3 --eb_arm none --queue_length 2 --rewind_lr"),
    "dropout": ("main_train", f"{DIGITS} --arch tests.ranks:faulty"),
    "infobatch": ("main_imp", f"{TINY} {SEARCH} --batch_selection infobatch --selection_until 1"),
    "adam": ("main_imp", f"{TINY} {SEARCH} --optimizer adam --lr 0.001 --label_smoothing 0.1"),
    "bf16": ("main_imp", f"{TINY} {SEARCH} --precision bf16"),
    "compiled": ("main_train", f"{TINY} --compile on"),
    "pattern": ("main_imp", f"{TINY} --epochs 2 --pattern 2:4 --prune_type rewind_lt --rewind_iteration 3"),
    "basis": ("main_imp", f"{TINY} {SEARCH} --basis dct"),
    "svd": ("main_imp", f"{TINY} {SEARCH} --basis svd"),
    "timm": ("main_imp", f"{DIGITS} --arch {VIT} {SEARCH} --optimizer adam --lr 0.001"),
    "attention": ("main_imp", f"{DIGITS} --arch tests.networks:vit_shallow {SEARCH} --prune_also all"),
    "stability": ("main_stability", TINY),
    "rigl": ("main_dst", f"{TINY} --method rigl --density 0.2 --update_every 2"),
    "rigl adam infobatch": (
        "main_dst",
        f"{TINY} --method rigl --density 0.2 --update_every 3 --optimizer adam --lr 0.001 "
        "--batch_selection infobatch --selection_until 1",
    ),
    "set": ("main_dst", f"{TINY} --method set --density 0.2 --update_every 2"),
    "acdc": ("main_dst", f"{TINY} --epochs 8 --method acdc --density 0.2"),
    "dpf": ("main_dst", f"{TINY} --method dpf --density 0.2 --update_every 2 --lr 0.02"),
    "files": ("main_PrAC_imp", f"{FILES} {SEARCH} --workers 1"),
    "files infobatch": ("main_imp", f"{FILES} {SEARCH} --batch_selection infobatch --selection_until 1 --workers 0"),
    "files rigl": ("main_dst", f"{FILES} --method rigl --density 0.2 --update_every 2 --workers 0"),
    "files dpf": (
        "main_dst",
        f"{FILES} --method dpf --density 0.2 --update_every 2 --lr 0.02 --workers 0 "
        "--batch_selection infobatch --selection_until 1",
    ),
    "files stability": ("main_stability", f"{FILES} --workers 0"),
}


class Variant:
    """A command, what one process makes of it, and the seconds that takes."""

    def __init__(self, name: str, folder: Path):
        self.folder = folder
        script, flags = VARIANTS[name]
        self.words = [f"{script}.py", *flags.format(photos=folder / "photos").split()]
        self.whole = folder / name.replace(" ", "_")
        begun = time.monotonic()
        status, said = self.attempt(1, self.whole)
        if status:
            raise RunError(f"{name}: one process failed: {said}")
        self.seconds = time.monotonic() - begun

    def attempt(self, count: int, save_dir: Path, blow: tuple[int, float] | None = None) -> tuple[int, str]:
        """Run the command on so many ranks, of which one is killed after so many seconds: the first status that is not
        0, and what all have said."""
        log = self.folder / "log"
        log.write_text("")
        with started(count, log, [*self.words, "--save_dir", save_dir]) as running:
            if blow:
                time.sleep(blow[1])
                if running[blow[0]].poll() is None:
                    os.kill(running[blow[0]].process.pid, signal.SIGKILL)
            statuses = wait(running, LONGEST)
        return next((status for status in statuses if status), 0), log.read_text()

    def run_case(self, row: Campaign, number: int) -> None:
        """One run until it ends."""
        random, save_dir, told = row.random(number), self.folder / "case" / "run", []
        kills = KILLS if number > 1 else 0
        for left in range(kills, -1, -1):
            count = (2, 4)[number] if number < 2 else int(random.choice(COUNTS))
            blow = (int(random.integers(count)), float(random.uniform(0, self.seconds))) if left else None
            status, said = self.attempt(count, save_dir, blow)
            told.append(f"{count} ranks" + (f", rank {blow[0]} killed after {blow[1]:.2f} s" if blow else ""))
            row.tally["killed"] += bool(blow and status)
            if status == 0:
                break
            if not blow or "Traceback" in said:
                row.fail(number, " ".join(self.words), *told, said, keep(self.folder / "case"))
                return
        row.tally["runs"] += 1
        if found := differences(save_dir, self.whole):
            row.fail(number, " ".join(self.words), *told, *found, keep(self.folder / "case"))


def parser():
    parser = campaign.parser(__doc__, count=4, counted="runs of each variant", minutes=60)
    parser.add_argument(
        "--variants", help=f"those to run, with commas between: {', '.join(VARIANTS)}; all if not given"
    )
    return parser


def work(argv: Sequence[str] | None) -> None:
    args = parser().parse_args(argv)
    names = args.variants.split(",") if args.variants else list(VARIANTS)
    if unknown := [name for name in names if name not in VARIANTS]:
        raise InputError(f"--variants: there is no {unknown[0]}, but {listed(list(VARIANTS))}")
    with workplace() as folder:
        save_photos(folder / "photos")

        def run_case(name: str, row: Campaign, number: int) -> None:
            if number == args.first:
                made[name] = Variant(name, folder)
                print(f"{name}: one process took {made[name].seconds:.1f} s", flush=True)
            (folder / "case").mkdir()
            made[name].run_case(row, number)

        made: dict[str, Variant] = {}
        rows = {name: partial(run_case, name) for name in names}
        conclude(run_cases(rows, args, "runs", folder), ["runs", "killed"])


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "tests.stress.ranks", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
