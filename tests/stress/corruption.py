"""Damage the files of finished and half-finished runs, give the same command again, and see that nobody is fooled.

    python -m tests.stress.corruption --count 500

Each damage must come to one of these: the command goes on from what is whole and ends with the files of an unbroken
run, to the bit; it exits with status 2 and one sentence, and touches nothing; or, for a file of an earlier round that
no command reads again, the results are unaffected and verify.py names the file. Exit status 0 if all do, else 1.
"""

import lzma
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from lottery.checkpointing.checkpoint import read
from lottery.checkpointing.run_directory import OWN
from lottery.cli.script import run_script
from tests.stress import campaign
from tests.stress.campaign import Campaign, conclude, keep, run_cases, workplace
from tests.stress.processes import ROOT, Ended, Job, finish, prepare, running
from tests.stress.runs import VARIANTS, Runs, saving
from tests.stress.same_files import unlike

COLUMNS = ["cases", "unchanged", "mended", "refused", "told by verify.py"]
HALVES = 2  # half-finished runs of each variant
GOLDEN = ROOT / "tests" / "golden"


class Shelf:
    """Runs to damage and files to put in their place; made once."""

    def __init__(self, runs: Runs, random: np.random.Generator):
        self.runs = runs
        keys = [(script, variant) for script in VARIANTS for variant in range(len(VARIANTS[script]))]
        self.whole = {key: runs.unbroken(*key)[0] for key in keys}
        self.halves = {key: [self.half(*key, number, random) for number in range(HALVES)] for key in keys}
        self.old = [self.unpacked(name) for name in ("reference_imp", "reference_prac")]

    def half(self, script: str, variant: int, number: int, random: np.random.Generator) -> Path:
        """What is left of a run that was killed at a random moment after its first epochs."""
        folder = self.runs.folder / f"{script}_{variant}_half_{number}"
        folder.mkdir()
        _, seconds = self.runs.unbroken(script, variant)
        job = saving(self.runs.job(script, variant), folder, save_interval=0)
        with running(job, self.runs.folder / "said") as (process, _):
            process.wait(random.uniform(0.3, 0.95) * seconds)
            process.send(signal.SIGKILL)
        return folder

    def unpacked(self, name: str) -> Path:
        file = self.runs.folder / f"{name}.pth.tar"
        file.write_bytes(lzma.decompress((GOLDEN / f"{name}.pth.tar.xz").read_bytes()))
        return file

    def others(self, key: tuple[str, int], kind: Callable[[Path], bool]) -> list[Path]:
        """Files of that kind from the finished and half-finished runs of other variants and scripts."""
        folders = [
            folder for other in self.whole if other != key for folder in (self.whole[other], *self.halves[other])
        ]
        return [file for folder in folders for file in results(folder) if kind(file)]


def results(folder: Path) -> list[Path]:
    """The files that hold results: pictures and records are made from them."""
    return sorted(file for file in folder.iterdir() if OWN.fullmatch(file.name) and file.suffix in (".tar", ".pt"))


# --- damage: each function changes `file`, and says how ---------------------------------------------------------------


def truncated(file: Path, random: np.random.Generator) -> str:
    size = file.stat().st_size
    # Half of the time within the checksum at the end, or right before it.
    left = int(random.integers(max(0, size - 120), size) if random.random() < 0.5 else random.integers(0, size))
    file.write_bytes(file.read_bytes()[:left])
    return f"cut after {left} of {size} bytes"


def flipped(file: Path, random: np.random.Generator) -> str:
    content = bytearray(file.read_bytes())
    place, bit = int(random.integers(len(content))), int(random.integers(8))
    content[place] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {place} flipped"


def scribbled(file: Path, random: np.random.Generator) -> str:
    content = bytearray(file.read_bytes())
    place, length = int(random.integers(len(content))), int(random.integers(1, 65))
    content[place : place + length] = random.bytes(length)[: len(content) - place]
    file.write_bytes(content)
    return f"{length} bytes from {place} on replaced"


def zeroed(file: Path, random: np.random.Generator) -> str:
    content = bytearray(file.read_bytes())
    block = 512 * int(random.integers(1, 9))
    place = block * int(random.integers(-(-len(content) // block)))
    content[place : place + block] = bytes(len(content[place : place + block]))
    file.write_bytes(content)
    return f"{block} bytes from {place} on set to zero"


def appended(file: Path, random: np.random.Generator) -> str:
    more = random.bytes(int(random.integers(1, 300)))
    file.write_bytes(file.read_bytes() + more)
    return f"{len(more)} bytes appended"


def doubled(file: Path, random: np.random.Generator) -> str:
    file.write_bytes(2 * file.read_bytes())
    return "its content twice in a row"


def emptied(file: Path, random: np.random.Generator) -> str:
    file.write_bytes(b"")
    return "emptied"


def unsealed(file: Path, random: np.random.Generator) -> str:
    content = read(file)
    torch.save(content, file)
    return "saved again by torch.save, without a checksum"


DAMAGES = (truncated, flipped, scribbled, zeroed, appended, doubled, emptied, unsealed)


# --- whole files in the wrong place -----------------------------------------------------------------------------------


def swapped(file: Path, shelf: Shelf, key: tuple[str, int], random: np.random.Generator) -> str:
    """With another of the same run."""
    others = [other for other in results(file.parent) if other != file]
    other = others[random.integers(len(others))]
    one, two = file.read_bytes(), other.read_bytes()
    file.write_bytes(two)
    other.write_bytes(one)
    return f"exchanged with {other.name}"


def copied_within(file: Path, shelf: Shelf, key: tuple[str, int], random: np.random.Generator) -> str:
    others = [other for other in results(file.parent) if other != file]
    other = others[random.integers(len(others))]
    shutil.copy(other, file)
    return f"replaced by {other.name}"


def counterpart(file: Path, shelf: Shelf, key: tuple[str, int], random: np.random.Generator) -> str:
    """A checkpoint by its best network, and the other way round."""
    kinds = ("checkpoint", "model_SA_best")
    this = kinds["best" in file.name]
    other = file.with_name(file.name.replace(this, kinds["best" not in file.name]))
    if other == file or not other.exists():
        return copied_within(file, shelf, key, random)
    shutil.copy(other, file)
    return f"replaced by {other.name}"


def foreign(file: Path, shelf: Shelf, key: tuple[str, int], random: np.random.Generator) -> str:
    """By the file of that name, or any other, of a run with other settings."""
    named = shelf.others(key, lambda other: other.name == file.name)
    there = named if named and random.random() < 0.7 else shelf.others(key, lambda other: True)
    other = there[random.integers(len(there))]
    shutil.copy(other, file)
    return f"replaced by {other.parent.name}/{other.name}"


def earlier(file: Path, shelf: Shelf, key: tuple[str, int], random: np.random.Generator) -> str:
    """By what stood in this file at another moment of an equal run."""
    folders = [shelf.whole[key], *shelf.halves[key]]
    there = [folder / file.name for folder in folders if (folder / file.name).exists()]
    if not there:
        return copied_within(file, shelf, key, random)
    other = there[random.integers(len(there))]
    shutil.copy(other, file)
    return f"replaced by {other.parent.name}/{other.name}"


def of_2021(file: Path, shelf: Shelf, key: tuple[str, int], random: np.random.Generator) -> str:
    old = shelf.old[random.integers(len(shelf.old))]
    shutil.copy(old, file)
    return f"replaced by {old.name} of the 2021 code"


MISPLACED = (swapped, copied_within, counterpart, foreign, earlier, of_2021)


# --- a case -----------------------------------------------------------------------------------------------------------


class Case:
    """A copy of a run, damaged, and what becomes of it."""

    def __init__(self, shelf: Shelf, row: Campaign, number: int):
        self.shelf, self.row, self.number, self.random = shelf, row, number, row.random(number)
        self.key = row.name, int(self.random.integers(len(VARIANTS[row.name])))
        bases = [shelf.whole[self.key], *shelf.halves[self.key]]
        self.base = bases[0 if self.random.random() < 0.4 else self.random.integers(1, len(bases))]
        self.folder = shelf.runs.folder / "case"
        self.run_folder = self.folder / "run"
        shutil.copytree(self.base, self.run_folder)
        self.job = saving(shelf.runs.job(*self.key), self.run_folder)
        self.told = [f"a copy of {self.base.name}"]

    def run(self) -> None:
        self.row.tally["cases"] += 1
        if len(results(self.run_folder)) < 2:  # killed too early: nothing to exchange
            self.row.tally["unchanged"] += 1
            return
        for _ in range(1 if self.random.random() < 0.7 else 2):
            self.told.append(self.damage())
        before = contents(self.run_folder)
        verified, ended = self.verify(), finish(self.job, self.folder / "said")
        told = [f"exit status {ended.status}", ended.err or ended.out]
        if trouble := trouble_of(verified, (0, 1)) or trouble_of(ended, (0, 2)):
            self.fail(trouble, *told, verified.err)
        elif ended.status == 2:
            self.refused(ended, before)
        else:
            self.ended(ended, before == contents(self.base))

    def damage(self) -> str:
        files = results(self.run_folder)
        newest = max(files, key=lambda file: file.stat().st_mtime_ns)
        file = newest if self.random.random() < 0.3 else files[self.random.integers(len(files))]
        if self.random.random() < 0.5 or not file.stat().st_size:
            # Rewinding weights without a checksum could be the 2021 code's; they are the same weights, and
            # main_train.py says that it uses them unchecked.
            possible = DAMAGES[:-1] if file.suffix == ".pt" else DAMAGES
            ways = [way for way in possible if file.stat().st_size or way is emptied]
            way = ways[self.random.integers(len(ways))]
            try:
                return f"{file.name}: {way(file, self.random)}"
            except ValueError:  # it cannot be read any more, to be saved again
                return f"{file.name}: {emptied(file, self.random)}"
        way = MISPLACED[self.random.integers(len(MISPLACED))]
        return f"{file.name}: {way(file, self.shelf, self.key, self.random)}"

    def verify(self) -> Ended:
        files = [str(file) for file in results(self.run_folder) if file.suffix != ".pt"]
        return finish(Job("verify", tuple(files)), self.folder / "verified")

    def refused(self, ended: Ended, before: dict[str, bytes]) -> None:
        self.row.tally["refused"] += 1
        if str(self.run_folder) not in ended.err:
            self.fail("refused without a word about which file it is", ended.err)
        if contents(self.run_folder) != before:
            self.fail("refused, and yet files were changed", ended.err)

    def ended(self, ended: Ended, unchanged: bool) -> None:
        """Status 0: the files must be right, or be named by verify.py."""
        whole = self.shelf.whole[self.key]
        names = {file.name for folder in (self.run_folder, whole) for file in folder.iterdir()}
        wrong = [name for name in sorted(names) if self.differs(self.run_folder / name, whole / name)]
        if not wrong:
            self.row.tally["unchanged" if unchanged else "mended"] += 1
            return
        verified = self.verify()
        unnamed = [name for name in wrong if name not in verified.err and not told_beside(name, verified)]
        damaged = {line.partition(":")[0] for line in self.told} | {line.rpartition(" ")[2] for line in self.told}
        if verified.status == 1 and not unnamed and set(wrong) <= damaged:
            self.row.tally["told by verify.py"] += 1
            return
        self.fail(f"exit status 0 with wrong files: {', '.join(wrong)}", *broken_laws(verified), verified.err)

    def differs(self, a: Path, b: Path) -> bool:
        return not a.exists() or not b.exists() or bool(unlike(a, b))

    def fail(self, *lines: str) -> None:
        self.row.fail(self.number, self.job.told(), *self.told, *lines, keep(self.folder))


def trouble_of(ended: Ended, allowed: Sequence[int]) -> str | None:
    """What is wrong with how a command ended, whatever it found."""
    if "Traceback" in ended.err or ended.status not in allowed:
        return f"exit status {ended.status}, or a traceback"
    if len(ended.complaints) != bool(ended.status):
        return "another number of lines on stderr than one complaint"
    return None


def broken_laws(verified: Ended) -> list[str]:
    return [line for line in verified.out.splitlines() if "BROKEN" in line]


def told_beside(name: str, verified: Ended) -> bool:
    """Whether a law of another file is broken by this one; of the rewinding weights no line is about the file."""
    return any(name in line or (name.endswith(".pt") and "rewinding" in line) for line in broken_laws(verified))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in results(folder)}


def parser():
    return campaign.parser(__doc__, count=500, counted="damaged runs, over the three scripts together", minutes=30)


def work(argv: Sequence[str] | None) -> None:
    args = parser().parse_args(argv)
    prepare()
    args.count = -(-args.count // len(VARIANTS))
    with workplace() as folder:
        shelf = Shelf(Runs(folder), np.random.default_rng(args.seed))
        one = dict.fromkeys(VARIANTS, lambda row, number: Case(shelf, row, number).run())
        rows = run_cases(one, args, "cases", folder)
    conclude(rows, COLUMNS)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "tests.stress.corruption", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
