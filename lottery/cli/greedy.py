"""How much pre-training does a subnetwork need? Greedy forward selection along the training of a two-layer network.

    python main_greedy.py --dataset mnist --data data/mnist --hidden 10000 --examples 10000 \\
        --iterations 8000 --prune_at 0,500,1000,2000,4000,8000 --neurons 200 --save_dir greedy/mnist_10000

Trains an average of --hidden neurons by plain SGD. At each iteration of --prune_at it picks --neurons of them, one at a
time, each the one that lowers the loss most (Ye et al., ICML 2020), with repeats; then it fine-tunes them. Reports the
first iteration at which they are as good as the fully trained dense network (Wolfe et al., arXiv 2108.00259). To resume
a run, give the same command again.
"""

from argparse import Namespace
from collections.abc import Container, Sequence
from dataclasses import replace

from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import Script
from lottery.cli import checks, flags
from lottery.cli.configs import from_flags, run_config
from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, not_negative, positive, positive_int, rising
from lottery.greedy.names import ACTIVATIONS, LOSSES, TARGETS
from lottery.greedy.neurons.config import (
    INTERVAL,
    NeuronSelectionConfig,
    PretrainingConfig,
    TaskConfig,
    every_interval,
)
from lottery.training.config import DeviceConfig
from utils import InputError

SCRIPT = str(Script.GREEDY)


def parser() -> Parser:
    parser = Parser(__doc__)
    run = parser.add_argument_group("the run")
    flags.add_run(run)
    flags.add_resuming(run)
    _add_data(parser.add_argument_group("data"))
    _add_network(parser.add_argument_group("the dense network and its training"))
    _add_selection(parser.add_argument_group("selection"))
    return parser


def _add_data(group) -> None:
    flags.add_data(group)
    group.add_argument(
        "--examples",
        type=rising("sizes", 1, "1000,5000,20000", may_be_empty=False),
        metavar="N,N,...",
        help="size of the training subset, drawn with --seed; all training examples if not given. Each of several "
        "sizes gets a run of its own, the largest first, in SAVE_DIR/examples_N. There is no validation set, since "
        "nothing is chosen by one",
    )
    group.add_argument(
        "--target",
        choices=TARGETS,
        default="halves",
        help="halves: one output, 1 for the lower half of the classes (digits below 5), -1 for the others; classes: "
        "one output per class, 1 for the right one, 0 for the others",
    )


def _add_network(group) -> None:
    group.add_argument("--hidden", type=positive_int, default=10000, help="width of the dense network, in neurons")
    group.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="activation function of the neurons")
    group.add_argument(
        "--loss",
        choices=LOSSES,
        default="squared",
        help="loss to train and to select by. squared comes with the bounds of the theory and a fast selection; "
        "cross_entropy (of a sigmoid with --target halves, of a softmax with classes) evaluates every neuron at every "
        "pick",
    )
    group.add_argument("--iterations", type=positive_int, default=8000, help="SGD steps of the full pre-training")
    group.add_argument("--batch_size", type=positive_int, default=128, help="examples per SGD step")
    group.add_argument(
        "--lr",
        type=positive,
        default=0.2,
        help="learning rate of SGD in mean-field units: the step is the learning rate times the number of neurons",
    )


def _add_selection(group) -> None:
    group.add_argument(
        "--prune_at",
        type=rising("iterations", 0, "0,500,1000", may_be_empty=False),
        metavar="0,500,1000",
        help=f"iterations of the pre-training to select at; every {INTERVAL} from 0 to --iterations if not given",
    )
    group.add_argument(
        "--neurons",
        type=positive_int,
        default=200,
        help="picks per selection; a neuron may be picked more than once, so there may be more picks than --hidden",
    )
    group.add_argument(
        "--fine_tune",
        type=count_from_0,
        default=1000,
        help="SGD steps of fine-tuning for each selected network; 0: none",
    )
    group.add_argument(
        "--delta",
        type=not_negative,
        default=1.0,
        help="a network counts as good enough at most this many points of accuracy below the fully trained dense one",
    )
    group.add_argument(
        "--memory",
        type=positive_int,
        default=4096,
        metavar="MIB",
        help="memory for the activations of all neurons on all examples; if they need more, they are recomputed at "
        "each pick, which is many times slower",
    )


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as possible without data or torch."""
    args = parser().parse_args(argv)
    checks.check_data(args)
    checks.check_save_dir(args.save_dir)
    checks.check_resuming(args)
    if args.checkpoint and args.examples and len(args.examples) > 1:
        raise InputError(
            f"--checkpoint {args.checkpoint} belongs to one run, and --examples asks for several: give one of them"
        )
    if args.prune_at is None:
        args.prune_at = every_interval(args.iterations)
    if args.prune_at[-1] > args.iterations:
        raise InputError(
            f"--prune_at {args.prune_at[-1]} is beyond the end of the pre-training, --iterations {args.iterations}"
        )
    return args


def read_configs(argv: Sequence[str] | None) -> list[NeuronSelectionConfig]:
    """A run for each size of the training subset, the largest first, so that one above the data is refused at once."""
    args = read_flags(argv)
    config = from_flags(
        NeuronSelectionConfig,
        args,
        run=run_config(args, SCRIPT),
        device=from_flags(DeviceConfig, args),
        task=from_flags(TaskConfig, args, examples=None),
        pretraining=from_flags(PretrainingConfig, args),
    )
    sizes = args.examples or (None,)
    if len(sizes) == 1:
        return [with_size(config, sizes[0])]
    runs = [replace(config.run, save_dir=args.save_dir / f"examples_{size}") for size in reversed(sizes)]
    begun = [bool(RunDirectory(run.save_dir).checkpoints()) for run in runs]
    if args.resume and not any(begun):
        raise InputError(f"nothing to resume: {runs[0].save_dir} holds no checkpoint, nor do those of other sizes")
    return [
        replace(with_size(config, size), run=replace(run, resume=args.resume and its))
        for size, run, its in zip(reversed(sizes), runs, begun, strict=True)
    ]


def with_size(config: NeuronSelectionConfig, examples: int | None) -> NeuronSelectionConfig:
    return replace(config, task=replace(config.task, examples=examples))
