"""robustness.json: accuracies of a run's networks under attack, written by main_robustness.py.

``{"attacks": [{"attack": {...}, "rounds": [{"round": 0, "clean": 91.2, "fgsm": 60.1, "pgd": 52.3, ...}], ...}]}``: an
entry for each attack, in it a row for each network of the run; accuracies in percent.
"""

from pathlib import Path

from lottery.checkpointing.metrics import read_summary, write_summary

ATTACK = {"eps", "pgd_steps", "pgd_step_size"}  # keys of "attack", at the least
ROW = {"round", "density", "examples", "clean", "fgsm", "pgd"}  # keys of a row, at the least


def read_attacks(path: Path) -> list[dict] | None:
    """The attacks that were made on a run, none if the file is not there; None if it is damaged."""
    if not path.exists():
        return []
    try:
        attacks = (read_summary(path) or {})["attacks"]
        whole = all(each["attack"].keys() >= ATTACK for each in attacks)
        return attacks if whole and all(row.keys() >= ROW for each in attacks for row in each["rounds"]) else None
    except (KeyError, TypeError, AttributeError):
        return None


def write_attacks(path: Path, attacks: list[dict]) -> None:
    """Replace the attacks in the file; they should hold those that were read from it."""
    write_summary(path, {"attacks": attacks})
