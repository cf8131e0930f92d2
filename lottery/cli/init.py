"""Prune at once, without a search: a ticket by random choice, magnitude, SNIP, GraSP or SynFlow.

    python main_init.py --dataset cifar10 --data data/cifar10 --arch res20s --criterion snip --density 0.1 \\
        --save_dir snip/seed_0

Scores every weight, where the network starts (--seed), where a short training has brought it (--init_dir), or where a
complete one has (--weights trained), and keeps the highest scores, exactly as many as are asked for. Writes
checkpoint.pth.tar, which main_train.py takes as --init_dir and --mask_dir. Only training examples are looked at, none
that validates or tests.
"""

from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.bases.config import BasisConfig
from lottery.checkpointing.script_names import Script
from lottery.cli import basis_flags, checks, flags, network_flags
from lottery.cli.configs import from_flags, run_config
from lottery.cli.parser import Parser
from lottery.cli.retraining import with_retraining
from lottery.cli.types import path, pattern, positive_int, share
from lottery.patterns import LARGEST
from lottery.pruning_at_init.config import PruningAtInitConfig
from lottery.pruning_at_init.criteria import CRITERIA, RANKINGS
from lottery.tickets.config import TicketConfig
from lottery.training.config import DataConfig, DeviceConfig, ModelConfig
from models import check_arch
from utils import InputError

SCRIPT = str(Script.INIT)
WEIGHTS = ("starting", "trained")


def parser() -> Parser:
    parser = Parser(__doc__)
    group = parser.add_argument_group("the result")
    flags.add_place(group)
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace another ticket of this script in --save_dir, which is moved to SAVE_DIR.old",
    )
    group = parser.add_argument_group("data")
    flags.add_data(group)
    flags.add_reading(group)
    flags.add_split(group)
    group = parser.add_argument_group("network")
    network_flags.add_network(group)
    group.add_argument(
        "--init_dir",
        type=path,
        metavar="FILE",
        help="weights to prune at: a checkpoint of a pruning script (its rewound weights), or "
        "epoch_3_rewind_weight.pt; random ones if not given. A mask in it is ignored",
    )
    group.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="starting",
        help="which weights of --init_dir are scored and written: those that its training starts from, or those that "
        "it has trained in a dense network, for one-shot pruning after training",
    )
    _add_criterion(parser.add_argument_group("the criterion"))
    basis_flags.add_basis(parser, "ranked by the root mean square of magnitudes, or the sum of other scores")
    _add_density(parser.add_argument_group("how many weights are kept"))
    looking = " and ".join(name for name, each in CRITERIA.items() if each.looks_at_examples)
    _add_examples(parser.add_argument_group(f"training examples that {looking} look at; all if not given"))
    return parser


def _add_criterion(group) -> None:
    group.add_argument(
        "--criterion",
        choices=CRITERIA,
        required=True,
        help="what a weight w is worth: " + "; ".join(f"{name}: {each.help}" for name, each in CRITERIA.items()),
    )
    group.add_argument(
        "--ranking",
        choices=RANKINGS,
        default="global",
        help="where the highest scores are kept: "
        + "; ".join(f"{name}: {each.help}" for name, each in RANKINGS.items()),
    )
    iterated = ", ".join(f"{each.iterations} for {name}" for name, each in CRITERIA.items() if each.iterations)
    group.add_argument(
        "--iterations",
        type=positive_int,
        help="score and prune so many times, down to density ** (i / iterations) in iteration i, each time by the "
        f"scores of the weights that are left; if not given, {iterated}",
    )
    group.add_argument(
        "--inverted",
        action="store_true",
        help="a control: keep the weights that score lowest instead, in every iteration (Frankle et al., ICLR 2021)",
    )
    group.add_argument(
        "--prune_classifier",
        action="store_true",
        help="prune the weights of the classifier, the layer that makes the logits, as well",
    )
    group.add_argument(
        "--allow_empty_layers", action="store_true", help="write a ticket even if a layer has no weight left"
    )


def _add_density(group) -> None:
    group = group.add_mutually_exclusive_group(required=True)
    # Short names of values: the usage line of this group cannot be broken, and 80 columns hold it.
    group.add_argument("--density", type=share, metavar="D", help="this share of the prunable weights, rounded")
    group.add_argument(
        "--sparsity", type=share, metavar="S", help="all but this share of the prunable weights, rounded"
    )
    group.add_argument(
        "--like", type=path, metavar="FILE", help="as many as the ticket in this checkpoint, of the same network"
    )
    group.add_argument(
        "--pattern",
        type=pattern,
        metavar="2:4",
        help="the 2 of highest score of every 4 consecutive input weights (along the input channels of a convolution) "
        "in each layer whose number of inputs 4 divides, in one pruning, and other layers whole; or another N:M "
        f"pattern, with M up to {LARGEST}",
    )


def _add_examples(group) -> None:
    group.add_argument(
        "--prac_set", type=path, metavar="FILE", help="those of a PrAC set: a .npy file, or a checkpoint"
    )
    group.add_argument("--score_examples", type=positive_int, metavar="N", help="N of them, drawn with --seed")
    flags.add_batch_size(group, "examples at a time; batch norm takes its statistics from each batch")


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch; fills in --iterations."""
    args = parser().parse_args(argv)
    checks.check_data(args)
    check_arch(args.arch, args.stem)
    checks.check_save_dir(args.save_dir)
    checks.check_files(args, *(name for name in checks.FILES if name not in made_later))
    if args.weights == "trained" and not args.init_dir:
        raise InputError("--weights trained are those of --init_dir: give it")
    check_criterion(args)
    check_pattern(args)
    basis_flags.check_basis(args)
    check_examples(args)
    args.iterations = 1 if args.pattern else args.iterations or CRITERIA[args.criterion].iterations or 1
    return args


def read_config(argv: Sequence[str] | None) -> PruningAtInitConfig:
    args = with_retraining(read_flags(argv), parser())
    return from_flags(
        PruningAtInitConfig,
        args,
        run=run_config(args, SCRIPT),
        device=from_flags(DeviceConfig, args),
        data=from_flags(DataConfig, args, no_augmentation=True),
        model=from_flags(ModelConfig, args),
        ticket=TicketConfig(init_dir=args.init_dir),
        basis=from_flags(BasisConfig, args),
    )


def check_criterion(args: Namespace) -> None:
    criterion = CRITERIA[args.criterion]
    if args.iterations and criterion.iterations is None:
        raise InputError(
            f"--iterations {args.iterations}: the scores of {args.criterion} do not depend on which weights are left, "
            "one pruning is enough: omit it"
        )
    if args.inverted and not criterion.invertible:
        raise InputError(f"--inverted: low scores of {args.criterion} mean nothing, so it has no inversion: omit it")


def check_pattern(args: Namespace) -> None:
    """An N:M pattern ranks the weights of each group, once."""
    others = {"ranking": args.ranking != "global", "iterations": args.iterations not in (None, 1)}
    rivals = [f"--{name} {getattr(args, name)}" for name, given in others.items() if given]
    if args.pattern and rivals:
        raise InputError(
            f"--pattern {args.pattern} is one pruning that ranks the weights of each group by themselves, "
            f"{' and '.join(rivals)} {'say' if len(rivals) > 1 else 'says'} otherwise: give one or the other"
        )


def check_examples(args: Namespace) -> None:
    if args.prac_set and args.prac_set.is_dir():
        raise InputError(f"--prac_set {args.prac_set} is a directory: give the checkpoint of one of its rounds")
    given = [f"--{name}" for name in ("prac_set", "score_examples") if getattr(args, name) is not None]
    if given and not CRITERIA[args.criterion].looks_at_examples:
        raise InputError(f"{given[0]}: --criterion {args.criterion} looks at no examples: omit it")
    if len(given) > 1:
        raise InputError("--prac_set and --score_examples both say which examples: give one of them")
    if args.score_examples == 1:
        raise InputError("--score_examples must be at least 2, since batch norm needs two examples, got 1")
