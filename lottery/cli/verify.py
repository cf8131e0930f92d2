"""Check tickets in files, of this suite or of the 2021 code: is each what it claims to be?

    python verify.py lt/*checkpoint.pth.tar

Looks at each file's checksum and at the laws of tickets: finite weights, exact density, dropped weights zero, a mask
within the one of the round before, weights equal to the rewinding point, examples that train and do not validate, an
elastic ticket that is what its source gives. What a law needs is taken from the file, from those beside it, and from
those it names. Exit status 0 if all that could be checked holds, else 1.
"""

from lottery.cli.parser import Parser
from lottery.cli.types import path, share


def parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("files", type=path, nargs="+", metavar="CHECKPOINT", help="checkpoints to check")
    parser.add_argument(
        "--rate",
        type=share,
        default=0.2,
        help="share of the kept weights that a round pruned, where the file does not say, as those of the 2021 code",
    )
    parser.add_argument(
        "--split_file", type=path, metavar="FILE.npy", help="the split of the run, where files do not say"
    )
    return parser
