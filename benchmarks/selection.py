"""How long greedy selection takes, and how much memory: 200 picks out of 10 000 neurons on 10 000 images of MNIST.

    OMP_NUM_THREADS=2 python -m benchmarks.selection --dataset mnist --data data/mnist --output selection.json

The two-layer network is first trained a little, since selection from random weights picks few neurons many times. Then
its activations are computed, and the neurons selected, as main_greedy.py does it. Nothing else should run on the
machine. The peak is the process's, Python, torch and the images included.
"""

import statistics
import sys
import time

from lottery.cli import checks, flags
from lottery.cli.script import run_script
from lottery.greedy.names import LOSSES, TARGETS


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    flags.add_data(parser)
    add("--examples", type=flags.positive_int, default=10_000, help="training images to select on")
    add("--hidden", type=flags.positive_int, default=10_000, help="neurons to select from")
    add("--neurons", type=flags.positive_int, default=200, help="picks")
    add("--target", choices=TARGETS, default="halves", help="halves: one output; classes: one for each class")
    add("--loss", choices=LOSSES, default="squared", help="to train and to select by")
    add("--iterations", type=flags.count_from_0, default=200, help="SGD steps before the selection")
    add("--memory", type=flags.positive_int, default=4096, metavar="MIB", help="for activations")
    add("--repeats", type=flags.positive_int, default=3, help="timed repeats")
    flags.add_gpu(parser)
    add("--output", type=flags.path, metavar="FILE.json", help="where to write every number")
    parser.set_defaults(seed=0, activation="relu", lr=0.2, batch_size=128)
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)
    checks.check_data(args)

    from benchmarks import report

    result = measure(args)
    if args.output:
        report.write_json(args.output, result)
    seconds, parts = result["seconds"], result["parts"]
    peak = "not known" if result["peak_bytes"] is None else f"{result['peak_bytes'] / 2**20:,.0f} MiB"
    print(
        f"{result['picks']} picks, {result['distinct']} distinct, out of {args.hidden} neurons on {args.examples} "
        f"examples, {args.target}, {args.loss}: {statistics.median(seconds):.2f} s, median of "
        f"{', '.join(f'{each:.2f}' for each in seconds)} ("
        + ", ".join(f"{name} {statistics.median(times):.2f} s" for name, times in parts.items())
        + f"); peak of the process {peak}; {result['threads']} threads"
    )


def measure(args) -> dict:
    """Seconds of each repeat and of its parts, what was picked, and the peak."""
    from benchmarks import report
    from benchmarks.memory import process_peak
    from lottery.greedy.neurons.bounds import moments
    from lottery.greedy.neurons.evaluation import SelectionSpec, build_candidates, select_neurons
    from lottery.greedy.neurons.setup import examples_on
    from lottery.greedy.neurons.task import LOSSES
    from lottery.greedy.neurons.training import SgdRecipe, train_
    from lottery.readers.registry import read_source
    from lottery.training.devices import pick_device
    from lottery.training.environment import keep_freed_memory
    from lottery.training.timing import elapsed_seconds
    from models.mean_field import initial

    keep_freed_memory()
    device = pick_device(args.gpu)
    source = read_source(args.dataset, args.data, args.image_size)
    train, _ = examples_on(device, source, args.examples, args.target, args.seed)
    network = initial(args.hidden, train.inputs.shape[1], train.targets.shape[1], args.activation, args.seed).to(device)
    recipe = SgdRecipe(args.lr, args.batch_size, LOSSES[args.loss], args.seed)
    train_(network, train, range(args.iterations), recipe)
    spec = SelectionSpec(args.neurons, args.loss, args.memory * 2**20)
    seconds, parts = [], {"activations": [], "their moments": [], "selection": []}
    for _ in range(args.repeats):
        made, start = [], time.perf_counter()
        steps = (
            lambda made=made: made.append(build_candidates(network, train.inputs, spec.memory)),
            lambda made=made: made.append(moments(made[0])),
            lambda made=made: made.append(select_neurons(spec, made[0], train.targets, made[1])),
        )
        for times, step in zip(parts.values(), steps, strict=True):
            times.append(elapsed_seconds(step, device))
        seconds.append(time.perf_counter() - start)
        selected = made[-1]
        made.clear()
    found = {"seconds": seconds, "parts": parts, "picks": len(selected.picks), "distinct": selected.distinct}
    return report.circumstances(device) | found | {"peak_bytes": process_peak()}


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.selection", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
