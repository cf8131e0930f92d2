"""How much pre-training does a subnetwork need? Greedy forward selection along the training of a two-layer network.

    python main_greedy.py --dataset mnist --data data/mnist --hidden 10000 --examples 10000 \\
        --iterations 8000 --prune_at 0,500,1000,2000,4000,8000 --neurons 200 --save_dir greedy/mnist_10000

Trains an average of --hidden neurons by plain SGD. At each iteration of --prune_at it picks --neurons of them, one
after another, each the one that lowers the loss most (Ye et al., ICML 2020), repeats allowed; then fine-tunes them.
Tells the first iteration at which they are as good as the dense network at its end (Wolfe et al., arXiv 2108.00259).
To go on with a run, give the same command again.
"""

from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.cli import checks, flags
from lottery.cli.parser import Parser
from lottery.cli.types import count_from_0, not_negative, positive, positive_int, rising
from lottery.greedy.names import ACTIVATIONS, LOSSES, TARGETS
from utils import InputError

EVERY = 1000  # iterations between selections, where --prune_at does not say


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
        help="size of the sub-data-set: so many training examples, drawn with --seed; all of them if not given. Of "
        "several sizes each has a run of its own, the largest first, in examples_N of --save_dir. There is no "
        "validation set, since nothing is chosen by one",
    )
    group.add_argument(
        "--target",
        choices=TARGETS,
        default="halves",
        help="halves: one output, 1 for the lower half of the classes (digits below 5) and -1 for the others; classes: "
        "an output for each class, 1 for the right one and 0 for the others",
    )


def _add_network(group) -> None:
    group.add_argument("--hidden", type=positive_int, default=10000, help="width: neurons of the dense network")
    group.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="of the neurons")
    group.add_argument(
        "--loss",
        choices=LOSSES,
        default="squared",
        help="to train and to select by. squared has the bounds of the theory and a fast selection; cross_entropy (of "
        "a sigmoid with --target halves, of a softmax with classes) tries every neuron in every step",
    )
    group.add_argument("--iterations", type=positive_int, default=8000, help="SGD steps of the whole pre-training")
    group.add_argument("--batch_size", type=positive_int, default=128, help="examples per SGD step")
    group.add_argument(
        "--lr",
        type=positive,
        default=0.2,
        help="learning rate of SGD in mean-field units: the step is as many times larger as the network has neurons",
    )


def _add_selection(group) -> None:
    group.add_argument(
        "--prune_at",
        type=rising("iterations", 0, "0,500,1000", may_be_empty=False),
        metavar="0,500,1000",
        help=f"iterations of the pre-training to select at; every {EVERY} from 0 to --iterations if not given",
    )
    group.add_argument(
        "--neurons",
        type=positive_int,
        default=200,
        help="picks; a neuron may be picked more than once, so that they may be more than --hidden",
    )
    group.add_argument(
        "--fine_tune", type=count_from_0, default=1000, help="SGD steps that train the selected network; 0: none"
    )
    group.add_argument(
        "--delta",
        type=not_negative,
        default=1.0,
        help="points of accuracy below the fully pre-trained dense network that are good enough",
    )
    group.add_argument(
        "--memory",
        type=positive_int,
        default=4096,
        metavar="MIB",
        help="for the activations of all neurons on all examples; where they need more, they are computed anew at each "
        "pick, many times slower",
    )


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data or torch."""
    args = parser().parse_args(argv)
    checks.check_data(args)
    checks.check_save_dir(args.save_dir)
    checks.check_resuming(args)
    if args.checkpoint and args.examples and len(args.examples) > 1:
        raise InputError(f"--checkpoint {args.checkpoint} is one run's, and --examples has several: give one of them")
    if args.prune_at is None:
        args.prune_at = tuple(range(0, args.iterations + 1, EVERY))
    if args.prune_at[-1] > args.iterations:
        raise InputError(
            f"--prune_at {args.prune_at[-1]} is beyond the end of the pre-training, --iterations {args.iterations}"
        )
    return args


def runs_of(args: Namespace) -> list[Namespace]:
    """A run for each size of the sub-data-set; the largest first, so that one above the data is refused at once."""
    sizes = args.examples or (None,)
    if len(sizes) == 1:
        return [Namespace(**vars(args) | {"examples": sizes[0]})]
    folder = args.save_dir
    return [Namespace(**vars(args) | {"examples": n, "save_dir": folder / f"examples_{n}"}) for n in reversed(sizes)]
