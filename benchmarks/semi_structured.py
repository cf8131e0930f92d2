"""How long a Linear layer takes with dense weights, and with 2:4 weights on sparse tensor cores.

    python -m benchmarks.semi_structured --gpu 0 --output semi_structured.json

Inference of single layers in half precision, dense and semi-structured in turn, on random inputs; where the hardware
has no sparse tensor cores it says so. The outputs of both are compared first.
"""

import statistics
import sys

from benchmarks.options import names
from lottery.cli import flags
from lottery.cli.script import run_script
from utils import InputError

SIZES = "768x3072,3072x768,4096x4096,4096x11008"
PRECISIONS = ("fp16", "bf16")
TOLERANCE = 0.02  # of the largest output: half precision, summed in another order


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    add("--sizes", type=names, default=SIZES, help="outputs x inputs of the layers, such as 768x3072, with commas")
    add("--rows", type=flags.positive_int, default=4096, help="inputs at a time: images, or tokens")
    add("--precision", choices=PRECISIONS, default="fp16", help="of weights and inputs")
    add("--calls", type=flags.positive_int, default=50, help="calls of a layer in a timed repeat")
    add("--repeats", type=flags.positive_int, default=9, help="timed repeats")
    flags.add_gpu(parser)
    add("--output", type=flags.path, metavar="FILE.json", help="where to write every number")
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)
    sizes = {text: read_size(text) for text in args.sizes}

    from benchmarks import report
    from lottery.tickets.semi_structured import check_hardware
    from lottery.training.devices import pick_device

    device = pick_device(args.gpu, log=lambda message: print(message, file=sys.stderr))
    check_hardware(device)
    measured = {text: measure(args, size, device) for text, size in sizes.items()}
    if args.output:
        report.write_json(args.output, report.circumstances(device) | {"rows": args.rows, "layers": measured})
    for text, times in measured.items():
        dense, sparse = (1e6 * statistics.median(times[way]) for way in ("dense", "2:4"))
        print(f"{text}, {args.rows} rows, {args.precision}: dense {dense:.1f} us, 2:4 {sparse:.1f} us, "
              f"{dense / sparse:.2f} times as fast, medians of {args.repeats}")  # fmt: skip


def read_size(text: str) -> tuple[int, int]:
    """'768x3072' -> (768, 3072)."""
    from lottery.tickets.semi_structured import INPUTS, OUTPUTS

    parts = text.split("x")
    size = tuple(int(part) for part in parts if part.isascii() and part.isdigit())
    if len(parts) != 2 or len(size) != 2 or not all(size) or size[0] % OUTPUTS or size[1] % INPUTS:
        raise InputError(
            f"--sizes takes outputs x inputs, multiples of {OUTPUTS} and of {INPUTS} such as 768x3072, got {text!r}"
        )
    return size


def measure(args, size: tuple[int, int], device) -> dict[str, list[float]]:
    """Seconds of one call in each repeat, dense and 2:4."""
    import torch

    from lottery.training.timing import interleave, timed_task

    dense, sparse = two_layers(size, device, {"fp16": torch.float16, "bf16": torch.bfloat16}[args.precision])
    rows = torch.randn(args.rows, size[1], device=device, dtype=dense.weight.dtype)
    with torch.inference_mode():
        compare(dense(rows), sparse(rows), size)

        def calls(layer):
            return timed_task(lambda: [layer(rows) for _ in range(args.calls)], device)

        seconds = interleave({"dense": calls(dense), "2:4": calls(sparse)}, args.repeats)
    return {way: [each / args.calls for each in times] for way, times in seconds.items()}


def two_layers(size: tuple[int, int], device, dtype):
    """A layer with 2:4 weights: as dense ones that are half zeros, and in semi-structured form."""
    import copy

    import torch

    from lottery.patterns import prune_to_pattern
    from lottery.tickets.semi_structured import PATTERN, to_semi_structured_
    from pruner import apply_, magnitude

    torch.manual_seed(0)
    layer = torch.nn.Linear(size[1], size[0], device=device, dtype=dtype).eval()
    weights = {"weight": layer.weight}
    whole = {"weight": torch.ones_like(layer.weight, dtype=torch.bool)}
    apply_(weights, prune_to_pattern(whole, magnitude(weights, whole), PATTERN))
    sparse = copy.deepcopy(layer)
    to_semi_structured_(sparse)
    return layer, sparse


def compare(dense, sparse, size: tuple[int, int]) -> None:
    """RuntimeError if the outputs are further apart than rounding."""
    if float((dense - sparse).abs().max()) > TOLERANCE * float(dense.abs().max()):
        raise RuntimeError(f"the 2:4 layer of size {size} computes something else than the dense one")


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.semi_structured", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
