"""Where a flag is that a script does not have: the error names the scripts that have it."""

from lottery.cli.parser import UnknownFlag
from lottery.cli.registry import MODULES, flag_names
from utils import listed


def explain(error: UnknownFlag, script: str) -> str:
    """The error, with the other scripts that have the flag; where nothing is near, with how to see all flags."""
    name = error.flag.lstrip("-").replace("-", "_")
    others = [other for other in MODULES if other != script and name in flag_names(other)]
    if not others or name in flag_names(script):  # the script's own flag, but for its dashes
        return str(error) if error.instead else f"{error}; --help lists all flags"
    verb = "has" if len(others) == 1 else "have"
    there = f"{' and '.join(others) if len(others) < 3 else listed(others)} {verb} --{name}"
    return f"{error} ({there})" if error.instead else f"{error}: {there}"
