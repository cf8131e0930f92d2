"""Controls for PrAC sets: searches that follow a PrAC run and train on other examples (--members, --steps_of).

A new one is one entry here, one in `cli/prac_imp.MEMBERS`, and its choice in `search/control_sets.py`.
"""

from collections.abc import Mapping
from typing import NamedTuple


class SetControl(NamedTuple):
    name: str  # part of a method's name
    claim: str  # of PrAC, if it does better than this control
    control_claim: str | None = None  # of this control, if it does as well as PrAC
    by_class: bool = False  # whether its sets have as many examples of each class as PrAC's


SET_CONTROLS = {  # by value of --members, and for --steps_of
    "random": SetControl(
        "random members",
        "which examples its sets hold matters, beyond how many there are of each class",
        "as good as PrAC, so that the number of examples explains what its sets do",
        by_class=True,
    ),
    "easy": SetControl("easy members", "its sets serve better than examples that they leave out", by_class=True),
    "el2n": SetControl("members by EL2N", "its sets serve better than those of large early error (EL2N)"),
    "cet": SetControl("members by forgetting", "its sets serve better than the most forgotten examples alone"),
    "cep": SetControl("members by CEP", "its sets serve better than examples on which networks disagree alone"),
    "ccs": SetControl(
        "members by coverage",
        "its sets serve better than examples of all difficulties (coverage-centric sampling)",
        "as good as PrAC, so that covering all difficulties explains what its sets do",
    ),
    "steps_of": SetControl(
        "as many steps as PrAC",
        "its sets serve better than all the data for as many steps",
        "as good as PrAC, so that shorter training explains what its sets do",
    ),
}


def set_control(settings: Mapping) -> str | None:
    """The key of the control that a search is, from its settings: the value of --members, which another version may
    have added, or "steps_of"; None for a search that follows no PrAC run."""
    return settings.get("members") or ("steps_of" if settings.get("steps_of") else None)


def has_classes_of_prac(settings: Mapping) -> bool:
    """Whether the sets of this search have as many examples of each class as those of the PrAC run that it follows."""
    control = set_control(settings)
    return control in SET_CONTROLS and SET_CONTROLS[control].by_class


def set_control_name(settings: Mapping) -> str:
    """The name of the control that a search is; empty for a search that follows no PrAC run."""
    control = set_control(settings)
    if control is None:
        return ""
    return SET_CONTROLS[control].name if control in SET_CONTROLS else f"members {control}"
