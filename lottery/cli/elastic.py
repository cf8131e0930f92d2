"""Transfer a lottery ticket to a deeper or shallower network of the same family, without another search.

    python main_elastic.py --source_arch res20s --target_arch res56s \\
        --init_dir lt/7checkpoint.pth.tar --mask_dir lt/7checkpoint.pth.tar --save_dir elastic/res56s_7

Stretching replicates units (residual blocks; layers of a VGG or an MLP), squeezing drops them, each with its mask, its
rewound weights and its batch norm (Chen et al., "The Elastic Lottery Ticket Hypothesis", NeurIPS 2021). Takes neither
data nor a GPU. Writes checkpoint.pth.tar, which main_train.py --arch res56s takes as --init_dir and --mask_dir.

Networks of your own need --family, a file that describes their units; models/description.py documents its format.
"""

from argparse import Namespace
from collections.abc import Container, Sequence
from typing import Any

from lottery.checkpointing.script_names import Script
from lottery.cli import checks, network_flags
from lottery.cli.configs import from_flags, run_config
from lottery.cli.parser import Parser
from lottery.cli.types import path
from lottery.elastic.config import ElasticConfig, MappingConfig
from lottery.elastic.mapping import ORDERS, read_mapping
from models import check_arch
from models.description import read_description
from models.units import family
from utils import InputError

SCRIPT = str(Script.ELASTIC)


def parser() -> Parser:
    parser = Parser(__doc__)
    group = parser.add_argument_group("networks")
    group.add_argument("--source_arch", required=True, help="the network the ticket was found in, as --arch named it")
    group.add_argument("--target_arch", required=True, help="the network to transfer it to, of the same family")
    group.add_argument(
        "--family",
        type=path,
        metavar="FILE.toml",
        help="describes the units of both networks: needed for networks of your own",
    )
    network_flags.add_stem(group)
    group = parser.add_argument_group("the ticket")
    checkpoint: dict[str, Any] = {"type": path, "required": True, "metavar": "FILE"}
    group.add_argument(
        "--init_dir",
        **checkpoint,
        help="starting weights: a checkpoint of a pruning script (its rewound weights), or epoch_3_rewind_weight.pt",
    )
    group.add_argument("--mask_dir", **checkpoint, help="mask: a checkpoint of a pruning script")
    group = parser.add_argument_group("the mapping")
    group.add_argument(
        "--order",
        choices=ORDERS,
        help="where copies go: append repeats the row of units (1 2 1 2), interpolate puts copies side by side "
        "(1 1 2 2); append if not given. A squeeze keeps the early units either way",
    )
    group.add_argument(
        "--block_mapping",
        metavar="0:0;1:1,3;2:2,4",
        help="an explicit mapping instead: source unit, colon, the target units that become its copies; units are "
        "counted from 0 in each stage. One for all stages, or one for each with | between them",
    )
    group = parser.add_argument_group("the result")
    group.add_argument("--save_dir", type=path, required=True, help="directory for checkpoint.pth.tar")
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace another elastic ticket in --save_dir, which is moved to SAVE_DIR.old",
    )
    return parser


def read_flags(argv: Sequence[str] | None, made_later: Container[str] = ()) -> Namespace:
    """The flags, checked as far as can be done without torch or the ticket; fills in --order, and --family with the
    description that its file holds."""
    args = parser().parse_args(argv)
    for arch in args.source_arch, args.target_arch:
        check_arch(arch, args.stem)
    checks.check_files(args, "family")
    args.family = read_description(args.family) if args.family else None
    if args.order and args.block_mapping is not None:
        raise InputError("--block_mapping says where every copy goes: omit --order")
    if args.block_mapping is None:
        args.order = args.order or ORDERS[0]
    if not args.family:  # else the networks would have to be built for their units to be known
        read_mapping(family(args.source_arch), family(args.target_arch), args.order, args.block_mapping)
    checks.check_files(args, *(name for name in ("init_dir", "mask_dir") if name not in made_later))
    checks.check_save_dir(args.save_dir)
    return args


def read_config(argv: Sequence[str] | None) -> ElasticConfig:
    args = read_flags(argv)
    return from_flags(ElasticConfig, args, run=run_config(args, SCRIPT), mapping=from_flags(MappingConfig, args))
