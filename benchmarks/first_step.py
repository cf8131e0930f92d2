"""How long until the first optimiser step of res20s is done, plain and compiled, with compiled code kept or not.

    python -m benchmarks.first_step --repeats 5 --precision bf16

Every start is a process of its own, timed from where its network and images are in memory to the end of the first step.
Compiled code goes into a folder of this benchmark's own: "cold" is a start with an empty one, "warm" with one that an
earlier start has filled.
"""

import os
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from lottery.cli import flags
from lottery.cli.script import run_script
from utils import RunError

WAYS = {"plain": "off", "cold": "on", "warm": "on"}


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    parser.add_argument("--repeats", type=flags.positive_int, default=5, help="starts of each way")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="number format of the products")
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)

    from benchmarks.memory import answer_of_child
    from benchmarks.report import aligned

    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(args.repeats):
            for way in WAYS:
                code = Path(folder) / (f"cold_{repeat}" if way == "cold" else "cold_0")
                seconds = answer_of_child("spawn", report_first_step, WAYS[way], args.precision, str(code))
                if seconds is None:
                    raise RunError(f"a start failed ({way}), as it says above")
                found[way].append(seconds)
    rows = [["first step, s", "median", "least", "most", "starts"]]
    rows += [
        [
            way,
            *(f"{value:.2f}" for value in (statistics.median(seconds), min(seconds), max(seconds))),
            str(len(seconds)),
        ]
        for way, seconds in found.items()
    ]
    print("\n".join(aligned(rows)))


def report_first_step(compile: str, precision: str, folder: str, sender: Connection) -> None:
    """In the child: the seconds of building a step and taking it on one batch. RunError if it did not run so."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder

    import torch

    from benchmarks import cases
    from lottery.training.step import Step

    model = cases.build(cases.NETWORKS["res20s"]).to(memory_format=torch.channels_last)
    images, ticket = cases.random_images(cases.BATCH, padding=4, flips=True), cases.pruned_ticket(model)
    visits = torch.stack([torch.arange(cases.BATCH), *[torch.zeros(cases.BATCH, dtype=torch.int64)] * 3])
    start = time.perf_counter()
    step = Step(model, images, cases.recipe(), precision=precision, compile=compile)
    step.load_(ticket)
    step.begin_epoch_()
    step(visits)
    seconds = time.perf_counter() - start
    if (compile == "on") != (step.fast_step.used == "compiled"):
        raise RunError(f"the first step was {step.fast_step.used}: {step.fast_step.fallback}")
    sender.send(seconds)


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.first_step", argv)


if __name__ == "__main__":
    sys.exit(main())
