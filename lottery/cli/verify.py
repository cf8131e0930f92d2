"""Check tickets in files, of this suite or of the 2021 code: is each what it claims to be?

    python verify.py lt/*checkpoint.pth.tar

Checks each file's checksum, its place in its run, and the invariants of tickets: finite weights, exact density, the N:M
pattern if there is one, dropped weights zero, mask a subset of the previous round's, weights equal to the rewinding
point, examples that train and do not validate, an elastic ticket equal to what its source gives. What a check needs is
read from the file, from those beside it, and from those it names. Exit status 0 if all that could be checked holds, 1
if something does not, 2 for wrong flags.
"""

from collections.abc import Sequence

from lottery.analysis.config import VerificationConfig
from lottery.cli import checks
from lottery.cli.configs import from_flags
from lottery.cli.parser import Parser
from lottery.cli.types import path, share
from lottery.formats.registry import folder_format
from utils import InputError


def parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("files", type=path, nargs="+", metavar="CHECKPOINT", help="checkpoints to check")
    parser.add_argument(
        "--rate",
        type=share,
        default=VerificationConfig.rate,
        help="pruning rate of a round, for files that do not record it, as those of the 2021 code",
    )
    parser.add_argument(
        "--split_file", type=path, metavar="FILE.npy", help="the split of the run, for files that do not record it"
    )
    return parser


def read_config(argv: Sequence[str] | None) -> VerificationConfig:
    """The flags; InputError for a file that does not exist, or is a directory that is no ticket."""
    args = parser().parse_args(argv)
    checks.check_files(args, "split_file")
    if missing := [file for file in args.files if not file.exists()]:
        raise InputError(f"{missing[0]} does not exist: checkpoints are needed")
    if folders := [file for file in args.files if file.is_dir() and not folder_format(file)]:
        raise InputError(f"{folders[0]} is a directory, files are needed: {folders[0]}/*.pth.tar are those of a run")
    return from_flags(VerificationConfig, args)
