"""Write a ticket in another form: for plain PyTorch, for torch.nn.utils.prune, as safetensors, in few bytes.

    python convert.py lt/5checkpoint.pth.tar --to masked

Takes a checkpoint of any script of this suite or of the 2021 code, or what convert.py wrote, so that forms convert to
each other. The weights are those that the ticket starts from, or with --trained those at the end of its training.
Every form but onnx and sliced can be given to --init_dir, --mask_dir and verify.py, and trains to the same bits.
Prints what was written and its size. Exit status 0; 2 for input that cannot be used, 1 if nothing can be written.
"""

from collections.abc import Sequence
from pathlib import Path

from lottery.cli import checks
from lottery.cli.configs import from_flags
from lottery.cli.parser import Parser
from lottery.cli.types import path, positive_int
from lottery.formats.config import ConversionConfig
from lottery.formats.registry import FORMATS, check_packages, folder_format
from utils import InputError

CHECKPOINT_ENDINGS = (".pth.tar", ".safetensors", ".pth", ".pt")


def parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("ticket", type=path, metavar="TICKET", help="the ticket, a checkpoint or one of the forms")
    forms = "; ".join(f"{name}: {form.help}" for name, form in FORMATS.items())
    parser.add_argument("--to", required=True, choices=list(FORMATS), metavar="FORMAT", help=f"the form: {forms}")
    parser.add_argument(
        "--output",
        type=path,
        metavar="PATH",
        help="what to write, which must not exist; by default beside the ticket, under its name with the form's ending",
    )
    parser.add_argument(
        "--trained",
        action="store_true",
        help="write the weights at the end of the training, instead of those that the ticket starts from",
    )
    parser.add_argument(
        "--image_size",
        type=positive_int,
        metavar="N",
        help="with --to onnx and sliced: height and width of the images in pixels, by default those that the run "
        "recorded or those of its data set",
    )
    parser.add_argument(
        "--sliced",
        action="store_true",
        help="with --to onnx: leave out the channels and neurons that emit nothing, as --to sliced does",
    )
    return parser


def read_config(argv: Sequence[str] | None) -> ConversionConfig:
    """The flags; InputError for a ticket that is not there or empty, a package that lacks, an output that exists."""
    args = parser().parse_args(argv)
    check_ticket(args.ticket)
    check_packages(args.to)
    if args.image_size and not FORMATS[args.to].builds:
        raise InputError(f"--image_size is of --to onnx and sliced: --to {args.to} holds no size of images")
    if args.sliced and args.to != "onnx":
        raise InputError(f"--sliced is of --to onnx, got --to {args.to}; --to sliced writes such a network for torch")
    args.output = args.output or default_output(args.ticket, args.to, args.trained)
    check_output(args.output)
    return from_flags(ConversionConfig, args)


def check_ticket(ticket: Path) -> None:
    """InputError unless it is a file with something in it, or a directory of a form."""
    if not ticket.exists():
        raise InputError(f"{ticket} does not exist: a checkpoint is needed")
    if ticket.is_dir() and not folder_format(ticket):
        raise InputError(f"{ticket} is a directory, a file is needed: {ticket}/*.pth.tar are those of a run")
    if ticket.is_file() and not ticket.stat().st_size:
        raise InputError(f"{ticket} is empty: a checkpoint is needed")


def default_output(ticket: Path, to: str, trained: bool) -> Path:
    """Beside the ticket: 5checkpoint.masked.pt for 5checkpoint.pth.tar, 5checkpoint.trained.masked.pt if trained."""
    ticket = ticket if ticket.name not in ("", "..") else ticket.resolve()  # "." has no name
    name = ticket.name
    for form in FORMATS.values():
        name = name.removesuffix(form.ending)
    name = next((name.removesuffix(end) for end in CHECKPOINT_ENDINGS if name.endswith(end)), name)
    ending = ".trained" if trained and not name.endswith(".trained") else ""
    return ticket.with_name(f"{name}{ending}{FORMATS[to].ending}")


def check_output(output: Path) -> None:
    """InputError if something is there, or if nothing can be written there."""
    if output.exists() or output.is_symlink():
        raise InputError(f"--output {output} exists: nothing is replaced, remove it or give another --output")
    checks.check_directory("--output", output.parent)
