"""Measure the suite against a plain PyTorch loop and against what the hardware allows.

    python -m benchmarks.run --output speed.json

One process, everything that is compared in turn, medians of repeats. Prints tables and, with --output, writes every
number. Nothing else should run on the machine. docs/performance.md says what is measured.
"""

import argparse
import gc
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.options import check_names, names
from lottery.cli import flags
from lottery.cli.script import run_script

EXAMPLES = {"cpu": 1536, "cuda": 45_000}
WORKERS = {"cpu": 2, "cuda": 4}


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    add("--networks", type=names, default="res20s,res18,res18-cifar,vgg16_bn", help="which, with commas between")
    add("--precisions", type=names, help="of fp32, tf32 (on CUDA), bf16; all that the device has if not given")
    add(
        "--examples",
        type=flags.positive_int,
        help=f"training images per timed repeat, {EXAMPLES['cpu']} on a CPU, where large networks take an eighth of "
        f"them, {EXAMPLES['cuda']} on CUDA if not given",
    )
    add("--repeats", type=flags.positive_int, default=5, help="timed repeats of everything, after one that is not")
    add(
        "--workers", type=flags.count_from_0, help="of the plain loop's DataLoaders: 2 on a CPU, 4 on CUDA if not given"
    )
    flags.add_gpu(parser)
    add("--compile", action="store_true", help="also time the suite with --compile on")
    add("--output", type=flags.path, metavar="FILE.json", help="where to write every number")
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)

    from benchmarks import report

    setting = read_setting(args)
    result = report.circumstances(setting.device) | chosen(setting) | {"networks": {}}
    for part in measure(args.networks, setting):
        result |= part | {"networks": result["networks"] | part.get("networks", {})}
        if args.output:
            report.write_json(args.output, result)
    print("\n".join(report.tables(result)))


def read_setting(args: argparse.Namespace):
    """The flags with device-dependent defaults; InputError for what cannot be measured on this device."""
    from benchmarks.cases import NETWORKS
    from benchmarks.contest import Setting
    from benchmarks.hardware import DTYPES
    from lottery.training.devices import pick_device
    from lottery.training.environment import set_determinism
    from lottery.training.precision import supported_precisions

    device = pick_device(args.gpu)
    set_determinism(device, deterministic=False)
    here = tuple(name for name in DTYPES if name in supported_precisions(device))
    precisions = here if args.precisions is None else args.precisions
    check_names(args.networks, tuple(NETWORKS), "--networks")
    check_names(precisions, here, "--precisions")
    return Setting(
        device=device,
        precisions=precisions,
        examples=args.examples or EXAMPLES[device.type],
        repeats=args.repeats,
        workers=WORKERS[device.type] if args.workers is None else args.workers,
        compile=args.compile,
    )


def chosen(setting) -> dict:
    """The setting as it stands in the file."""
    return {name: value for name, value in vars(setting).items() if name != "device"}


def measure(networks: tuple[str, ...], setting) -> Iterator[dict]:
    """Measure part by part, with a line on stderr for each."""
    from benchmarks import contest, footprint, hardware, jobs

    device, repeats = setting.device, setting.repeats
    report_progress("the device's rates")
    rates = hardware.rates(setting.precisions, device, repeats)
    yield {"rates": rates}
    report_progress("the PrAC set")
    yield {"jobs": jobs.measure(jobs.set_jobs(device), device, repeats)}
    for name in networks:
        report_progress(name)
        with tempfile.TemporaryDirectory() as folder:
            measured = contest.measure(name, setting, rates, Path(folder))
        yield {"networks": {name: measured | {"memory": footprint.measure(name, setting)}}}
        gc.collect()  # the network's tensors and workers, before the next one's


def report_progress(what: str) -> None:
    print(f"measuring {what}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.run", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
