"""How long an optimiser step takes under a mask of coefficients, by the basis; and how long its mask alone.

    OMP_NUM_THREADS=1 python -m benchmarks.basis_step

LeNet-300-100 on images of 28 x 28 and ResNet-20s on those of 32 x 32 x 3, in plain steps on the CPU. Bases in turn, in
processor time, which other work on the machine changes least.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lottery.bases.config import BasisConfig
from lottery.cli import flags
from lottery.cli.script import run_script

if TYPE_CHECKING:
    from lottery.training.step import Step
    from pruner import Ticket

NETWORKS = {"lenet300": (28, 1), "res20s": (32, 3)}  # size and channels of images
CONFIGS = (BasisConfig(), BasisConfig("dct", ("in",)), *map(BasisConfig, ("dct", "haar", "random", "svd")))
KEPT = 0.2  # share of the coefficients, which does not change the time


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    add = parser.add_argument
    add("--batch", type=flags.positive_int, default=128, help="examples of a step")
    add("--steps", type=flags.positive_int, default=3, help="steps, and ten times as many masks, in a timed repeat")
    add("--repeats", type=flags.positive_int, default=5, help="timed repeats")
    return parser


def work(argv: list[str] | None) -> None:
    args = parser().parse_args(argv)
    for arch, (size, channels) in NETWORKS.items():
        step, tickets = prepared(arch, size, channels, args.batch)
        for name, times in measured(step, tickets, args).items():
            whole, mask = (1e3 * statistics.median(each) for each in zip(*times, strict=True))
            print(f"{arch}, {name}: step {whole:.2f} ms, of it the mask {mask:.2f} ms, medians of {args.repeats}")


def prepared(arch: str, size: int, channels: int, batch: int) -> "tuple[Step, dict[str, Ticket]]":
    """A step of the network, and a ticket in each basis by its name."""
    import torch

    from dataset import Images
    from lottery.tickets.network_basis import basis_of_network
    from lottery.training.recipe import Recipe
    from lottery.training.step import Step, copy_weights
    from models import build_model
    from pruner import Ticket, dense

    torch.manual_seed(0)
    mean, std = [0.5] * channels, [0.5] * channels
    model = build_model(arch, classes=10, channels=channels, image_size=size, mean=mean, std=std)
    images = torch.randint(0, 256, (batch, size, size, channels), dtype=torch.uint8)
    step = Step(model, Images(images, torch.randint(0, 10, (batch,))), Recipe(epochs=1, batch_size=batch, lr=0.01))
    weights, whole = copy_weights(model), dense(model)
    prunable = {name: weights[name] for name in whole}
    mask = {name: torch.rand(layer.shape) < KEPT for name, layer in whole.items()}
    bases = {config.describe() or config.basis: None if config.is_plain else basis_of_network(
        config, model, prunable, 0, images[:1]) for config in CONFIGS}  # fmt: skip
    return step, {name: Ticket(mask, weights, basis=basis) for name, basis in bases.items()}


def measured(step: "Step", tickets: "dict[str, Ticket]", args) -> dict[str, list[tuple[float, float]]]:
    """Seconds of a step and of its mask by basis, for each repeat after a first one that is not counted."""
    import torch

    visits = torch.stack([torch.arange(args.batch), *3 * [torch.zeros(args.batch, dtype=torch.int64)]])
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in tickets}
    for _ in range(args.repeats + 1):
        for name, ticket in tickets.items():
            step.load_(ticket)
            step.begin_epoch_()
            step(visits)
            found[name].append((seconds(lambda: step(visits), args.steps), seconds(step.apply_mask_, 10 * args.steps)))
    return {name: times[1:] for name, times in found.items()}


def seconds(call: Callable[[], object], times: int) -> float:
    """Processor time of a call."""
    begin = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begin) / times


def main(argv: list[str] | None = None) -> int:
    return run_script(work, "benchmarks.basis_step", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
