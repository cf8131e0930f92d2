"""Give the scripts flags and files that nobody would think of, and see that each answer is a clear one.

    python -m tests.stress.fuzz --count 1000

Valid and invalid values in any combination, split files and PrAC sets of all kinds, tickets that are none. Never a
traceback; exit status 0 only with files that verify.py accepts, 2 with one line on stderr and nothing left behind, 1
with one line and whole files. hypothesis draws the commands and makes one that fails as short as it can. Exit status 0
if none does, else 1.
"""

import contextlib
import io
import lzma
import pickle
import shlex
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.report import aligned
from lottery.cli.script import run_script
from tests.stress import campaign
from tests.stress.campaign import workplace
from tests.stress.processes import ROOT, Job, prepare
from utils import RunError

EXAMPLES = 1437  # of the digits that train or validate
STATUSES = (0, 1, 2)


class Values(NamedTuple):
    """What a flag may be given, and what it may not. Some that may be given lead to runs that cannot go on."""

    good: tuple[str, ...]
    bad: tuple[str, ...] = ()


SWITCH = Values(("",))
RATIO = Values(("0.001", "0.5", "1"), ("0", "1.1", "nan", "x"))
LARGE = str(10**30)
SHARED = {
    "epochs": Values(("1", "2", "3"), ("0", "-1", "1.5", "x", "")),
    "batch_size": Values(("2", "7", "64", "512", LARGE), ("1", "0", "-3", "x")),
    "lr": Values(("0.1", "1", "1e-30", "1e30"), ("0", "-1", "nan", "inf", "1e300")),
    "momentum": Values(("0", "0.9", "0.999999999"), ("1", "-0.1", "nan")),
    "weight_decay": Values(("0", "1e-4", "1e30"), ("-1", "inf", "nan")),
    "warmup": Values(("0", "1", "2"), ("-1", "9", "x", LARGE)),
    "decreasing_lr": Values(("", "1", "1,2", "5,9", LARGE), ("2,1", "0", "1,1", "x", "1,,2", "-1")),
    "schedule": Values(("step", "linear", "cosine"), ("steps",)),
    "gamma": Values(("1e-30", "0.2", "1"), ("0", "1.1", "nan")),
    "optimizer": Values(("sgd", "adam"), ("adamw",)),
    "nesterov": SWITCH,
    "label_smoothing": Values(("0", "0.1", "0.999"), ("1", "-0.1", "nan")),
    "seed": Values(("0", "1", str(2**31), str(2**64), LARGE), ("-1", "x", "1.0")),
    "gpu": Values(("-1",), ("-2", "x")),
    "precision": Values(("auto", "fp32", "bf16"), ("tf32", "half")),
    "compile": Values(("auto", "off"), ("maybe",)),
    "print_freq": Values(("1", "50", LARGE), ("0", "x")),
    "save_interval": Values(("0", "0.01", "60", "1e300"), ("-1", "nan", "inf")),
    "stem": Values(("imagenet",), ("cifar", "vgg")),
    "image_size": Values((), ("8", "32", "0")),
    "data_in": Values(("memory",), ("files", "disk")),
    "augmentation": Values(("crop",), ("resized_crop", "flip")),
    "workers": Values((), ("0", "2", "-1", "x")),
    "arch": Values(
        ("tests.networks:tiny", "lenet300"),
        (
            "tests.networks:only_linear",
            "tests.networks:no_network",
            "tests.networks:lazy",
            "tests.networks:x",
            "x:y",
            ":",
            "vgg16",
            "res20",
            "",
        ),
    ),
    "dataset": Values(("digits",), ("cifar11", "imagefolder", "")),
    "data": Values(("{folder}", "nowhere"), ("",)),
    "resume": Values((), ("",)),
    "overwrite": SWITCH,
    "checkpoint": Values((), ("{ticket}", "nowhere", ".")),
    "split_file": Values(("{split}",), ("nowhere.npy", ".", "{ticket}", "")),
    "val_fraction": Values(("0", "0.1", "0.5"), ("1", "-0.1", "nan", "x", "0.99999")),
    "init_dir": Values(
        ("{ticket}", "{rewound}", "{basis}"), ("{best}", "{split}", "{old}", "nowhere", ".", "{garbage}")
    ),
    "mask_dir": Values(
        ("{ticket}", "{best}", "{rewound}", "{basis}", "{filters}"), ("{split}", "{old}", "nowhere", ".")
    ),
    "weights": Values(("{ticket}", "{best}"), ("{split}", "{basis}", "nowhere", "{garbage}")),
    "normalization": Values(("dataset", "imagenet"), ("none",)),
    "shards": Values(("1", "2", "4"), ("0", "3", "x", LARGE)),
    "batch_selection": Values(("infobatch",), ("random",)),
    "selection_rate": Values(("0.5", "0.999"), ("0", "1", "nan")),
    "selection_until": RATIO,
    "deterministic": SWITCH,
    "new_classifier": SWITCH,
    "no_augmentation": SWITCH,
    "rewind_lr": SWITCH,
    "no_such_flag": Values((), ("", "1")),
}
PRUNING = SHARED | {
    "pruning_times": Values(("1", "2", "3"), ("0", "-1", "x")),
    "rate": Values(("0.2", "0.5", "0.9", "0.99", "1e-9", "0.0004"), ("0", "1", "-0.1", "nan", "x")),
    "prune_type": Values(("lt", "rewind_lt"), ("xx", "")),
    "rewind_epoch": Values(("0", "1", "2"), ("-1", "x", LARGE)),
    "rewind_iteration": Values(("0", "1", "30"), ("-1", "x", "0.5", LARGE)),
    "prune_classifier": SWITCH,
    "eb_eps": Values(("1", "0.5", "0.05", "1e-9"), ("0", "1.1", "nan", "-1")),
    "queue_length": Values(("1", "2", "1000"), ("0", "x")),
    "eb_interval": Values(("epoch", "steps"), ("step",)),
    "eb_arm": Values(("exceed", "none"), ("never",)),
    "prac_set": Values(("{set}", "{PrAC}"), ("nowhere", "{train}", "{ticket}x", "{best}x", ".")),
    "prac_epochs": Values(("scaled", "fixed"), ("none",)),
    "densities": Values(("0.5", "0.5,0.2", "0.9,0.001", "1e-9"), ("0.2,0.5", "1", "0", "0.5,,0.2", "x")),
    "pattern": Values(("2:4", "1:2"), ("4:2", "0:4", "x")),
    "prune_also": Values(("all",), ("bn1.weight", "x", "")),
    "between": Values(("rewind", "continue"), ("none",)),
    "basis": Values(("canonical", "dct", "haar", "hadamard", "random", "svd"), ("fourier",)),
    "basis_axes": Values(("out", "in", "kernel", "out in"), ("height", "")),
    "block": Values(("weight", "filter", "row"), ("layer",)),
    "vanilla_epochs": Values(("1", "3", LARGE), ("0", "x")),
}
RUN = Values(("{PrAC}",), ("{train}", "{folder}", "{ticket}", "nowhere"))
TRAINING = SHARED | {
    "control": Values(("reinit", "random_mask", "one_shot", "dense"), ("none",)),
    "rule": Values(("weight_rewinding", "lr_rewinding", "fine_tuning"), ("lr",)),
    "order_seed": Values(("0", "1", LARGE), ("-1", "x")),
    "save_model": SWITCH,
}
AT_ONCE = (
    "seed gpu stem image_size data_in augmentation workers normalization arch dataset data overwrite split_file "
    "val_fraction init_dir weights prac_set prune_classifier batch_size deterministic basis basis_axes block pattern"
)
DST_TOO = "prune_type rewind_epoch rewind_iteration prune_classifier prune_also"
UNTRIED = {"help", "version", "save_dir", "tensorboard", "checkpoint"}  # flags that need not be drawn
SCRIPTS = {
    "main_imp": PRUNING | {"random_prune": SWITCH, "steps_of": RUN},
    "main_PrAC_imp": PRUNING
    | {
        "no_early_stop": SWITCH,
        "data_prune": Values(("zero_out", "constent", "constant", "random"), ("none",)),
        "threshold": Values(("0", "1", str(2**31 - 2)), ("-1", "x", "0.5", str(2**31 - 1), LARGE)),
        "data_rate": Values(("0.2", "0.9999", "1e-9"), ("0", "1", "nan")),
        "cep": Values(("trained", "pruned", "none"), ("all",)),
        "like_run": RUN,
        "members": Values(("random", "easy", "el2n", "cet", "cep", "ccs"), ("all",)),
        "ccs_beta": Values(("0", "0.5", "0.999"), ("1", "-0.1", "nan")),
    },
    "main_train": TRAINING,
    "main_stability": {name: values for name, values in TRAINING.items() if name not in ("order_seed", "checkpoint")}
    | {
        "order_seeds": Values(("0,1", "7,3"), ("1", "1,1", "0,1,2", "x,y", "-1,2")),
        "points": Values(("2", "3", "5"), ("1", "0", "x")),
        "statistics_examples": Values(("1", "50", LARGE), ("0", "x")),
    },
    "main_init": {name: PRUNING[name] for name in AT_ONCE.split()}
    | {
        "criterion": Values(("random", "magnitude", "snip", "grasp", "synflow"), ("l2",)),
        "ranking": Values(("global", "uniform", "erk"), ("local",)),
        "density": Values(("0.5", "0.1", "0.01", "1e-9", "1", "0.999"), ("0", "1.1", "nan", "x")),
        "sparsity": Values((), ("0.5", "1")),
        "iterations": Values(("1", "3", "100"), ("0", "x")),
        "weights": Values(("starting", "trained"), ("best",)),
        "score_examples": Values(("1", "64", LARGE), ("0", "x")),
        "inverted": SWITCH,
        "allow_empty_layers": SWITCH,
        "like": Values(("{ticket}", "{basis}", "{filters}"), ("{split}", "nowhere")),
    },
    "main_dst": {name: PRUNING[name] for name in (*SHARED, *DST_TOO.split()) if name != "rewind_lr"}
    | {
        "method": Values(("static", "set", "rigl", "gmp", "acdc", "dpf"), ("grow",)),
        "density": Values(("0.5", "0.1", "0.01", "1e-9", "1"), ("0", "1.1", "nan")),
        "distribution": Values(("uniform", "erk"), ("global",)),
        "update_from": Values(("0", "0.3", "0.999"), ("1", "-0.1", "x")),
        "update_until": RATIO,
        "update_every": Values(("1", "5", LARGE), ("0", "x")),
        "drop_fraction": RATIO,
        "drop": Values(("magnitude", "sign"), ("gradient",)),
    },
}
BASE = "--dataset digits --arch tests.networks:tiny --gpu -1".split()
TRAINED = "--epochs 2 --decreasing_lr 1 --batch_size 64".split()
SHORT = {
    "main_imp": [*TRAINED, "--pruning_times", "2"],
    "main_PrAC_imp": [*TRAINED, "--pruning_times", "2"],
    "main_train": TRAINED,
    "main_stability": [*TRAINED, "--points", "3"],
    "main_init": "--criterion magnitude --density 0.5".split(),
    "main_dst": [*TRAINED, *"--method rigl --density 0.2".split()],
}


# --- files of example numbers -----------------------------------------------------------------------------------------


def some(random: np.random.Generator, n: int) -> np.ndarray:
    """Different examples."""
    return random.permutation(EXAMPLES)[:n]


LISTS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "int64": some,
    "int32": lambda random, n: some(random, n).astype(np.int32),
    "big-endian": lambda random, n: some(random, n).astype(">i8"),
    "uint16": lambda random, n: some(random, n).astype(np.uint16),
    "uint8": lambda random, n: random.permutation(256)[:n].astype(np.uint8),
    "in order": lambda random, n: np.arange(n),
    "strided": lambda random, n: np.arange(2 * n)[::2],
    "floats": lambda random, n: some(random, n).astype(float),
    "nan": lambda random, n: np.full(n, np.nan),
    "booleans": lambda random, n: random.random(n) < 0.5,
    "strings": lambda random, n: some(random, n).astype(str),
    "complex": lambda random, n: some(random, n).astype(complex),
    "dates": lambda random, n: some(random, n).astype("datetime64[D]"),
    "records": lambda random, n: np.zeros(n, dtype=[("a", int)]),
    "objects": lambda random, n: np.array([{} for _ in range(n)], dtype=object),
    "table": lambda random, n: some(random, n)[:, None],
    "one number": lambda random, n: np.array(n),
    "repeats": lambda random, n: np.concatenate([some(random, n), [3, 3]]),
    "negative": lambda random, n: np.append(some(random, n), -1),
    "too large": lambda random, n: np.append(some(random, n), EXAMPLES),
    "far too large": lambda random, n: np.append(some(random, n).astype(np.uint64), np.uint64(2**64 - 1)),
    "long": lambda random, n: random.permutation(10**6),
}
BYTES: dict[str, bytes] = {
    "empty file": b"",
    "text": b"hello",
    "magic alone": b"\x93NUMPY",
    "zip magic alone": b"PK\x03\x04",
    "pickle": pickle.dumps([1, 2, 3]),
    "absurd shape": b"\x93NUMPY\x01\x00F\x00{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999,), }"[
        :90
    ],
}


class Listed(NamedTuple):
    """A file of example numbers, by how it is made."""

    kind: str
    length: int
    seed: int

    def write(self, path: Path) -> None:
        if self.kind in BYTES:
            path.write_bytes(BYTES[self.kind])
        else:
            entries = LISTS[self.kind](np.random.default_rng(self.seed), self.length)
            np.save(path, entries, allow_pickle=True)


class Command(NamedTuple):
    """A command, with places for files, and the files."""

    script: str
    words: tuple[str, ...]
    split: Listed
    set: Listed
    twice: bool

    def told(self) -> str:
        files = f"split file {self.split}, PrAC set {self.set}"
        return f"python {self.script}.py {shlex.join(self.words)}{', twice' if self.twice else ''}; {files}"


def commands():
    """hypothesis' way to draw a command: of each flag the good values nineteen times out of twenty."""
    from hypothesis import strategies as st

    lists = st.sampled_from([*list(LISTS)[:7]] * 4 + list(LISTS)[7:] + list(BYTES))
    files = st.builds(Listed, lists, st.sampled_from([60, 10, 200, 11, 9, 2, 1, 0, EXAMPLES]), st.integers(0, 9))

    @st.composite
    def command(draw) -> Command:
        script = draw(st.sampled_from(list(SCRIPTS)))
        known = SCRIPTS[script]
        words = []
        for name in draw(st.lists(st.sampled_from(list(known)), unique=True, max_size=7)):
            values = known[name]
            bad = values.bad and (not values.good or draw(st.integers(0, 19)) == 19)
            value = draw(st.sampled_from(values.bad if bad else values.good))
            words += [f"--{name}", *value.split(" ")] if value or name in VALUED else [f"--{name}"]
        return Command(script, tuple(words), draw(files), draw(files), draw(st.integers(0, 9)) == 9)

    return command()


# Flags of which an empty value is a value, not the absence of one.
VALUED = {"decreasing_lr", "epochs", "arch", "dataset", "data", "split_file", "prune_type"}


# --- running one ------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    status: int | None  # None for a traceback
    out: str
    err: str


def call(job: Job) -> Answer:
    """A script's main in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = __import__(job.script).main(list(job.words))
        except (Exception, SystemExit):
            status = None
            traceback.print_exc()
    return Answer(status, out.getvalue(), err.getvalue())


class Bench:
    """Where commands are run, with the files that they may name."""

    def __init__(self, folder: Path):
        self.folder, self.run, self.tally = folder, folder / "run", Counter()
        self.places = {"folder": folder, "split": folder / "split.npy", "set": folder / "set.npy"}
        self.make_files()

    def make_files(self) -> None:
        """Finished runs, a checkpoint of the 2021 code, and what is none."""
        for script, name in (("main_PrAC_imp", "PrAC"), ("main_train", "train")):
            answer = call(Job(script, (*BASE, *SHORT[script], "--save_dir", str(self.folder / name))))
            if answer.status:
                raise RunError(f"a plain run of {script}.py failed: {answer.err}")
        for name, block in (("basis", "--basis dct"), ("filters", "--block filter --ranking uniform")):
            words = (*BASE, *SHORT["main_init"], *block.split(), "--save_dir", str(self.folder / name))
            if (answer := call(Job("main_init", words))).status:
                raise RunError(f"a plain run of main_init.py failed: {answer.err}")
        packed = ROOT / "tests" / "golden" / "reference_imp.pth.tar.xz"
        (self.folder / "old.pth.tar").write_bytes(lzma.decompress(packed.read_bytes()))
        (self.folder / "garbage").write_bytes(np.random.default_rng(0).bytes(5000))
        PrAC = self.folder / "PrAC"
        self.places |= {
            "PrAC": PrAC,
            "train": self.folder / "train",
            "ticket": PrAC / "2checkpoint.pth.tar",
            "best": PrAC / "1model_SA_best.pth.tar",
            "rewound": PrAC / "1checkpoint.pth.tar",
            "basis": self.folder / "basis" / "checkpoint.pth.tar",
            "filters": self.folder / "filters" / "checkpoint.pth.tar",
            "old": self.folder / "old.pth.tar",
            "garbage": self.folder / "garbage",
        }

    def job(self, command: Command) -> Job:
        words = (word.format(**self.places) for word in command.words)
        return Job(command.script, (*BASE, *SHORT[command.script], *words, "--save_dir", str(self.run)))

    def try_out(self, command: Command) -> str | None:
        """What is wrong with the answer to a command, in words; None if nothing is."""
        shutil.rmtree(self.run, ignore_errors=True)
        command.split.write(self.places["split"])
        command.set.write(self.places["set"])
        job = self.job(command)
        trouble = None
        for _ in range(1 + command.twice):
            answer = call(job)
            self.tally[command.script, answer.status] += 1
            trouble = trouble or self.trouble(answer, job)
        return trouble

    def trouble(self, answer: Answer, job: Job) -> str | None:
        complaints = answer.err.splitlines()
        if answer.status not in STATUSES:
            return f"exit status {answer.status}:\n{answer.err}"
        if len(complaints) != bool(answer.status):
            return f"exit status {answer.status} with {len(complaints)} lines on stderr:\n{answer.err}"
        if answer.status == 2 and self.run.exists() and "--overwrite" not in job.words:
            return f"refused, and {sorted(file.name for file in self.run.iterdir())} left behind:\n{answer.err}"
        if answer.status == 0 and not any(self.run.iterdir()):
            return "exit status 0 and nothing done"
        return self.verified(job) if self.run.exists() else None

    def verified(self, job: Job) -> str | None:
        """What verify.py has to say about the files that a command left."""
        tickets = "copy_*/*.pth.tar" if job.script == "main_stability" else "*.pth.tar"
        files = sorted(map(str, self.run.glob(tickets)))
        if left := [file.name for file in self.run.rglob(".*")]:
            return f"half-written files are left: {left}"
        split = ["--split_file", job.words[job.words.index("--split_file") + 1]] if "--split_file" in job.words else []
        answer = call(Job("verify", (*files, *split))) if files else Answer(0, "", "")
        self.tally["verify", answer.status] += 1
        return f"verify.py does not accept the files:\n{answer.out}{answer.err}" if answer.status else None


def parser():
    return campaign.parser(__doc__, count=1000, counted="commands", minutes=30)


def work(argv: Sequence[str] | None) -> None:
    args = parser().parse_args(argv)
    prepare()
    began = time.monotonic()
    with workplace() as folder:
        context = Bench(folder)
        failure = search(context, args.count, args.seed, began + 60 * args.minutes)
    rows = [["", *(f"status {status}" for status in STATUSES)]]
    rows += [[script, *(str(context.tally[script, status]) for status in STATUSES)] for script in (*SCRIPTS, "verify")]
    print("\n".join(aligned(rows)))
    tried = sum(number for (script, _), number in context.tally.items() if script != "verify")
    print(
        f"seed {args.seed}: {tried} commands in {time.monotonic() - began:.0f} s, {'one' if failure else 'none'} failed"
    )
    if failure:
        raise RunError(f"a command got no clear answer: {failure}")


def search(context: Bench, count: int, seed: int, end: float) -> str | None:
    """Try so many commands, as long as there is time; the shortest that fails, and how."""
    import hypothesis

    failed: list[str] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(commands())
    def each(command: Command) -> None:
        in_time = failed or time.monotonic() < end  # what has failed is made shorter, however long that takes
        if in_time and (trouble := context.try_out(command)):
            failed.append(f"{command.told()}\n{trouble}")
            raise AssertionError

    # Flaky: what failed once, and not again, has failed.
    with contextlib.suppress(AssertionError, hypothesis.errors.Flaky), contextlib.redirect_stderr(io.StringIO()):
        each()
    return failed[-1] if failed else None


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "tests.stress.fuzz", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
