"""The flags that say in which basis a network is sparse, and what is pruned as one. Importing this needs no torch."""

from argparse import Namespace

from lottery.bases.config import AXES, BASES, BLOCKS, BasisConfig, check_optimizer
from lottery.cli.configs import from_flags
from utils import InputError


def add_basis(parser, ranked: str = "ranked by their root mean square") -> None:
    """`ranked` says, in the help of --block, by what blocks are."""
    group = parser.add_argument_group("sparsity in another basis (docs/methods/bases.md)")
    group.add_argument(
        "--basis",
        choices=BASES,
        default="canonical",
        help="the mask keeps and drops coefficients of each layer's weights in this basis: "
        + "; ".join(f"{name}: {help}" for name, help in BASES.items()),
    )
    group.add_argument(
        "--basis_axes",
        nargs="+",
        choices=AXES,
        metavar="AXIS",
        help="which axes of the weights it transforms, of out, in and kernel; all if not given, of svd out alone. The "
        "inputs of a first linear layer on images are transformed by height and width",
    )
    group.add_argument(
        "--block",
        choices=BLOCKS,
        default="weight",
        help=f"which coefficients are pruned as one, {ranked}; rates and densities then count such blocks: "
        + "; ".join(f"{name}: {help}" for name, help in BLOCKS.items()),
    )


def check_basis(args: Namespace) -> None:
    """InputError for what does not go with these flags, or with one another."""
    args.basis_axes = tuple(args.basis_axes) if args.basis_axes else None
    config = from_flags(BasisConfig, args)
    given = f"--basis {config.basis}" if config.transforms else f"--block {config.block}"
    if args.pattern and (config.transforms or config.in_blocks):
        raise InputError(
            f"--pattern {args.pattern} keeps weights of each group by themselves, {given} prunes otherwise: give one "
            "of them"
        )
    if config.transforms and "optimizer" in args:
        check_optimizer(args.optimizer)
