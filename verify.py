"""verify"""

import sys
from collections.abc import Sequence

from lottery.cli import checks
from lottery.cli import verify as cli
from lottery.cli.script import run_script
from utils import RunError


def work(argv: Sequence[str] | None) -> None:
    args = cli.parser().parse_args(argv)
    checks.check_files(args, "split_file")

    from lottery.analysis.verification import report

    broken = [file for file in args.files if not report(file, args.rate, args.split_file)]
    if broken:
        names = ", ".join(map(str, broken))
        raise RunError(f"{len(broken)} of {len(args.files)} files are not what they should be: {names}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "verify.py", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
