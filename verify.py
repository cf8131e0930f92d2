"""Check tickets in files, of this suite or of the 2021 code: is each what it claims to be?

    python verify.py lt/*checkpoint.pth.tar

Looks at each file's checksum and at the laws of tickets: finite weights, exact density, dropped weights zero, a mask
within the one of the round before, weights equal to the rewinding point, examples that train and do not validate, an
elastic ticket that is what its source gives. What a law needs is taken from the file, from those beside it, and from
those it names. Exit status 0 if all that could be checked holds, else 1.
"""

import sys
from collections.abc import Sequence

from lottery.cli import flags
from utils import RunError, run_script


def parser() -> flags.Parser:
    parser = flags.Parser(__doc__)
    parser.add_argument("files", type=flags.path, nargs="+", metavar="CHECKPOINT", help="checkpoints to check")
    parser.add_argument(
        "--rate",
        type=flags.share,
        default=0.2,
        help="share of the kept weights that a round pruned, where the file does not say, as those of the 2021 code",
    )
    parser.add_argument(
        "--split_file", type=flags.path, metavar="FILE.npy", help="the split of the run, where files do not say"
    )
    return parser


def work(argv: Sequence[str] | None) -> None:
    args = parser().parse_args(argv)
    flags.check_files(args, "split_file")

    from lottery.analysis.verification import report

    broken = [file for file in args.files if not report(file, args.rate, args.split_file)]
    if broken:
        names = ", ".join(map(str, broken))
        raise RunError(f"{len(broken)} of {len(args.files)} files are not what they should be: {names}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "verify.py", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
