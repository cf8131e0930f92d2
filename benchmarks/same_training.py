"""Does the suite's fast step train the same network as a straightforward one?

    python -m benchmarks.same_training --gpu -1 --seeds 40 --output same.json

(1) The losses of the first steps, against those of the straightforward step in float64: how far each variant is from
it. (2) The test accuracy at the end of a training, seed by seed, against the straightforward step in fp32: the mean of
the differences, with its 95 % interval by Student's t. Variants of a seed start from the same weights and see the same
batches. With --output every value is written as it is known; the same command goes on with the seeds that are missing.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

from benchmarks.options import check_names, names
from lottery.cli import flags
from lottery.cli.script import run_script
from utils import InputError

DEFAULT = "straightforward-fp32,ours-fp32,ours-bf16,emulated-tf32"
STEPS, SHOWN, BATCHES = 50, (1, 2, 5, 10, 50), (128, 32)
SMALL, LR = 32, 0.1


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    add("--seeds", type=flags.count_from_0, default=40, help="how many seeds, from 0 up, are trained to the end")
    add("--loss_seeds", type=flags.count_from_0, default=5, help="of how many the first losses are compared")
    add("--loss_lr", type=flags.positive, default=LR, help="learning rate of the first losses")
    add(
        "--variants",
        type=names,
        default=DEFAULT,
        help="which, with commas between; also ours-fp32-compiled, ours-bf16-compiled and, on CUDA, ours-tf32",
    )
    add("--epochs", type=flags.positive_int, default=20, help="of a training; the learning rate drops at 1/2 and 3/4")
    flags.add_gpu(parser)
    add("--output", type=flags.path, metavar="FILE.json", help="where every value is kept")
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)

    from benchmarks import digits, report
    from benchmarks.straightforward import VARIANTS
    from lottery.training.devices import pick_device
    from lottery.training.precision import supported_precisions

    device = pick_device(args.gpu)
    unsupported = {"tf32", "bf16"} - set(supported_precisions(device))
    elsewhere = {name for name in VARIANTS for precision in unsupported if name.startswith(f"ours-{precision}")}
    check_names(args.variants, [name for name in VARIANTS if name not in elsewhere], "--variants")
    book = Book(args, settings(args, device.type), report.circumstances(device))
    data = digits.read(device)
    for batch_size in BATCHES:
        first_losses(book, data, batch_size)
    accuracies(book, data)
    print("\n".join([*loss_lines(book.content["losses"]), *difference_lines(book)]))


# --- what is known ----------------------------------------------------------------------------------------------------


class Book:
    """The file of results: what an earlier command found, and what is added."""

    def __init__(self, args: argparse.Namespace, settings: dict, circumstances: dict):
        self.args = args
        self.content = {"settings": settings, "commands": [], "losses": {}, "accuracies": {}, "differences": {}}
        if args.output and args.output.exists():
            self.content = read(args.output, settings)
        self.content["commands"].append(circumstances)

    def section(self, *keys: str) -> dict:
        """The part of the content under these keys, made if it is not there."""
        part = self.content
        for key in keys:
            part = part.setdefault(key, {})
        return part

    def write(self) -> None:
        from benchmarks.report import write_json

        if self.args.output:
            write_json(self.args.output, self.content)


def settings(args: argparse.Namespace, device: str) -> dict:
    """What all values of a file have in common."""
    return {
        "steps": STEPS,
        "epochs": args.epochs,
        "batch_size": SMALL,
        "lr": LR,
        "loss_lr": args.loss_lr,
        "device": device,
    }


def read(path: Path, expected: dict) -> dict:
    """What an earlier command wrote; InputError if it is not that, or made with other settings."""
    try:
        content = json.loads(path.read_text())
        known = content["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"--output {path} is there, and no file of this benchmark") from None
    if known != expected:
        raise InputError(f"--output {path} holds results with settings {known}, got {expected}: choose another file")
    return content


# --- the two comparisons ----------------------------------------------------------------------------------------------


def first_losses(book: Book, data, batch_size: int) -> None:
    """The losses of the first steps, of every variant and in float64."""
    from benchmarks.digits import begin
    from benchmarks.straightforward import VARIANTS, float64
    from lottery.training.recipe import Recipe, steps_per_epoch

    epochs = -(-STEPS // steps_per_epoch(len(data.indices), batch_size))
    recipe = Recipe(epochs=epochs, milestones=(), lr=book.args.loss_lr, batch_size=batch_size)
    makers = {"float64": float64} | {name: VARIANTS[name] for name in book.args.variants}
    for seed in map(str, range(book.args.loss_seeds)):
        known = book.section("losses", str(batch_size), seed)
        for name, make in makers.items():
            if name not in known:
                known[name] = begin(make, data, recipe, int(seed)).train(data.indices, int(seed))[:STEPS]
                book.write()


def accuracies(book: Book, data) -> None:
    """The test accuracy after a whole training, of every variant, and how far they are apart."""
    from benchmarks.digits import begin
    from benchmarks.straightforward import VARIANTS
    from lottery.training.recipe import Recipe

    epochs = book.args.epochs
    recipe = Recipe(epochs=epochs, milestones=(epochs // 2, epochs * 3 // 4), lr=LR, batch_size=SMALL)
    for seed in range(book.args.seeds):
        for name in book.args.variants:
            known = book.section("accuracies", name)
            if str(seed) not in known:
                start = time.perf_counter()
                training = begin(VARIANTS[name], data, recipe, seed)
                training.train(data.indices, seed)
                known[str(seed)] = training.accuracy(data.test)
                report_training(seed, name, known[str(seed)], time.perf_counter() - start)
                book.content["differences"] = differences(book.content["accuracies"])
                book.write()


def report_training(seed: int, name: str, accuracy: float, seconds: float) -> None:
    print(f"seed {seed}, {name}: {accuracy:.2f} %, {seconds:.1f} s", file=sys.stderr, flush=True)


def differences(accuracies: dict[str, dict[str, float]]) -> dict:
    """Variant -> its accuracy minus the straightforward one's over the seeds both have: mean and 95 % interval."""
    from benchmarks.straightforward import BASE

    base, found = accuracies.get(BASE, {}), {}
    for name, values in accuracies.items():
        apart = [values[seed] - base[seed] for seed in values if seed in base]
        if name != BASE and apart:
            found[name] = {"mean": statistics.mean(apart), "half_width": half_width(apart), "seeds": len(apart)}
    return found


def half_width(values: list[float]) -> float | None:
    """Of the 95 % interval of a mean, by Student's t; None for a single value."""
    from scipy import stats

    n = len(values)
    return float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n) if n > 1 else None


# --- tables -----------------------------------------------------------------------------------------------------------


def loss_lines(losses: dict) -> list[str]:
    """How far each variant's losses are from float64's: the median over seeds, at some steps."""
    from benchmarks.report import aligned

    lines = []
    for batch_size, seeds in losses.items():
        rows = [[f"|loss - float64's|, batches of {batch_size}", *(f"step {step}" for step in SHOWN)]]
        variants = [name for name in next(iter(seeds.values()), {}) if name != "float64"]
        for name in variants:
            rows.append([name, *(f"{distance(seeds, name, step):.2g}" for step in SHOWN)])
        lines += ["", *aligned(rows)]
    return lines


def distance(seeds: dict, name: str, step: int) -> float:
    known = [runs for runs in seeds.values() if name in runs]
    return statistics.median(abs(runs[name][step - 1] - runs["float64"][step - 1]) for runs in known)


def difference_lines(book: Book) -> list[str]:
    from benchmarks.report import aligned

    rows = [["test accuracy, %", "mean", "standard deviation", "seeds", "minus straightforward", "95 % interval"]]
    for name, values in book.content["accuracies"].items():
        seen = list(values.values())
        spread = f"{statistics.stdev(seen):.2f}" if len(seen) > 1 else "-"
        cells = difference_cells(book.content["differences"].get(name))
        rows.append([name, f"{statistics.mean(seen):.2f}", spread, str(len(seen)), *cells])
    return ["", *aligned(rows)]


def difference_cells(apart: dict | None) -> list[str]:
    if apart is None:
        return ["-", "-"]
    mean, half = apart["mean"], apart["half_width"]
    return [f"{mean:+.3f}", "-" if half is None else f"{mean - half:+.3f} ... {mean + half:+.3f}"]


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.same_training", argv, goes_on=True)


if __name__ == "__main__":
    sys.exit(main())
