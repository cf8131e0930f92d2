"""Check tickets in files, of this suite or of the 2021 code; `python verify.py --help` has the flags."""

import sys
from collections.abc import Sequence

from lottery.analysis.config import VerificationConfig
from lottery.cli import verify as cli
from lottery.cli.script import run_script
from lottery.terminal import print_lines
from utils import RunError


def verify_files(config: VerificationConfig) -> None:
    """Check each file and print what holds of it; RunError if any is not what it should be."""
    from lottery.analysis.verification import all_hold, check_file, finding_lines

    broken = []
    for file in config.files:
        print_lines(f"{file}:")
        findings = check_file(file, config)
        print_lines(*finding_lines(findings))
        if not all_hold(findings):
            broken.append(file)
    if broken:
        names = ", ".join(map(str, broken))
        raise RunError(f"{len(broken)} of {len(config.files)} files are not what they should be: {names}")


def work(argv: Sequence[str] | None) -> None:
    verify_files(cli.read_config(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(work, "verify.py", argv, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
