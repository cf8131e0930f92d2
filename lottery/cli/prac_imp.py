"""Find lottery tickets on critical examples ("Efficient Lottery Ticket Finding: Less Data is More", ICML 2021).

    python main_PrAC_imp.py --dataset cifar10 --data data/cifar10 --arch res20s \\
        --split_file npy_files/cifar10-train-val.npy --prune_type rewind_lt --save_dir PrAC

Iterative magnitude pruning as in main_imp.py, but each round trains only on the PrAC set the one before it left:
examples it forgot (CET) and examples on which the dense and the sparse network disagree (CEP), for proportionally fewer
epochs, and stops as soon as the mask has settled. To go on with a run, give the same command again.
"""

from argparse import Namespace
from collections.abc import Container, Sequence

from lottery.checkpointing.script_names import Script
from lottery.cli import basis_flags, checks, flags, search_flags
from lottery.cli.configs import search_config
from lottery.cli.idle_flags import idle_notes
from lottery.cli.parser import Parser
from lottery.cli.retraining import with_retraining
from lottery.cli.types import number, path, share
from lottery.search.config import CCS_BETA, EPS, PracConfig
from utils import InputError

SCRIPT = str(Script.PRAC_IMP)


def parser() -> Parser:
    parser = flags.parser(__doc__)
    search_flags.add_pruning(parser, ("lt", "rewind_lt"))
    basis_flags.add_basis(parser)
    search_flags.add_early_stop(parser, eps=EPS)
    group = parser.add_argument_group("the PrAC set")
    group.add_argument(
        "--data_prune",
        choices=("zero_out", "constent", "constant", "random"),
        default="zero_out",
        help="CET: all examples forgotten more than --threshold times; the most forgotten, a fixed number of them "
        "(constent or constant: |D0| x (1 - data_rate)^k for round k, D0 being the training split); or, as a control, "
        "a set as large as zero_out's PrAC set drawn at random",
    )
    # An example that was never learned counts as forgotten 2^31 - 1 times: more often than any threshold.
    times = number(int, "a whole number from 0 up, below 2147483647", lambda value: 0 <= value < 2**31 - 1)
    group.add_argument("--threshold", type=times, default=0, help="forgetting events to be exceeded")
    group.add_argument("--data_rate", type=share, default=0.2, help="constent: share of examples dropped in a round")
    group.add_argument(
        "--cep",
        choices=("trained", "pruned", "none"),
        default="trained",
        help="CEP: where the best dense and this round's best sparse network disagree; where this round's final "
        "network before and after its pruning does (Algorithm 1 of the paper); or no CEP",
    )
    search_flags.add_given_set(parser)
    flags.add_batch_selection(parser.add_argument_group("which examples an epoch leaves out"))
    search_flags.add_savings(parser)
    add_control(parser)
    group = parser.add_argument_group("a ticket to begin with, instead of the dense network")
    flags.add_ticket(group)
    return parser


MEMBERS = {
    "random": "drawn at random, of each class as many as the set has",
    "easy": "drawn like that from the examples that are not in the set, filled up from it if they are too few",
    "el2n": "those of largest error |softmax - one-hot| (EL2N; Paul et al., NeurIPS 2021) of this run's dense network "
    "after a tenth of round 0's epochs, at least one",
    "cet": "those that this run forgot most often in the round before, filled up at random",
    "cep": "those on which this run's networks disagree (CEP as DIR has it), filled up or cut at random",
    "ccs": "those that cover all difficulties, the hardest left out: equally many from each of 50 strata of EL2N error "
    "(coverage-centric sampling; Zheng et al., ICLR 2023)",
}


def add_control(parser: Parser) -> None:
    group = parser.add_argument_group("a control for the PrAC set")
    group.add_argument(
        "--like_run",
        type=path,
        metavar="DIR",
        help="search on sets as large as those of the finished PrAC run in DIR, for as many epochs and steps, but on "
        "other examples; rounds end where those of DIR did",
    )
    group.add_argument(
        "--members",
        choices=MEMBERS,
        help="which ones, from round 1 on: " + "; ".join(f"{name}: {help}" for name, help in MEMBERS.items()),
    )

    group.add_argument(
        "--ccs_beta",
        type=number(float, "a number from 0 up, below 1", lambda value: 0 <= value < 1),
        metavar="SHARE",
        help=f"of --members ccs: share of the hardest examples that are left out; {CCS_BETA} if not given",
    )


def check_given_set(args: Namespace) -> None:
    """With sets that are given, or follow another run's, those flags that say how to make them have nothing to say."""
    if args.prac_set and args.like_run:
        raise InputError("--prac_set and --like_run both say which examples rounds train on: give one of them")
    made = {"data_prune": "zero_out", "threshold": 0, "data_rate": 0.2, "cep": "trained"}
    given = "--prac_set" if args.prac_set else "--like_run"
    idle = [f"--{name}" for name, default in made.items() if getattr(args, name) != default]
    if idle and (args.prac_set or args.like_run):
        raise InputError(f"{given} gives the sets, {' and '.join(idle)} would make them: give one or the other")


def check_control(args: Namespace) -> None:
    """--like_run and --members go together; a round of a control ends where that of the run ended."""
    if args.members and not args.like_run:
        raise InputError(
            f"--members {args.members} replaces the examples of a PrAC run's sets: name that run by --like_run DIR"
        )
    if args.like_run and not args.members:
        raise InputError(f"--like_run {args.like_run} needs --members: one of {', '.join(MEMBERS)}")
    if args.ccs_beta is not None and args.members != "ccs":
        raise InputError(f"--ccs_beta {args.ccs_beta} is for --members ccs: give both")
    if args.members == "ccs" and args.ccs_beta is None:
        args.ccs_beta = CCS_BETA
    if args.like_run and args.eb_eps != EPS:
        raise InputError(f"--like_run ends rounds where those of its run ended, --eb_eps {args.eb_eps} would end them "
                         "elsewhere: give one of them")  # fmt: skip


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without data, network or torch; resolves --data_prune and --eb_eps."""
    own = parser()
    args = own.parse_args(argv)
    args.notes += idle_notes(args, own)
    checks.check_pruning(args, made_later)
    basis_flags.check_basis(args)
    check_given_set(args)
    check_control(args)
    args.data_prune = "constent" if args.data_prune == "constant" else args.data_prune
    args.eb_eps = None if args.no_early_stop or args.like_run else args.eb_eps
    return args


def read_config(argv: Sequence[str] | None) -> PracConfig:
    return search_config(PracConfig, with_retraining(read_flags(argv), parser()), SCRIPT)
