"""Which module of this package has which script's flags."""

from types import ModuleType

from lottery.cli import (
    channels,
    elastic,
    greedy,
    imp,
    init,
    prac_imp,
    report,
    robustness,
    stability,
    study,
    train,
    verify,
)

MODULES = {
    "main_imp.py": imp,
    "main_PrAC_imp.py": prac_imp,
    "main_train.py": train,
    "main_init.py": init,
    "main_elastic.py": elastic,
    "main_stability.py": stability,
    "main_robustness.py": robustness,
    "main_greedy.py": greedy,
    "main_channels.py": channels,
    "study.py": study,
    "report.py": report,
    "verify.py": verify,
}


def cli_module(script: str) -> ModuleType:
    """The module with a script's `parser` and `read_flags`."""
    return MODULES[script]


def flag_names(script: str) -> set[str]:
    """The names of a script's flags, without their dashes."""
    return cli_module(script).parser().flag_names
