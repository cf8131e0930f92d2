"""Runs of main_channels.py: channels selected along a pre-training, or from given weights, and what the smaller
networks achieve and save."""

from typing import NamedTuple

from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import Script
from lottery.greedy.names import BASELINES, GREEDY
from lottery.results.greedy_runs import GreedyRun, whole_summary
from lottery.results.not_reportable import NotFinished

SUMMARY = {"settings", "examples", "rounds", "finished", "delta"}
SETTINGS = {"seed", "dataset", "arch", "keep", "top1_tol", "layers", "prune_at", "fine_tune_epochs"}
ROW = {"iteration", "layers", "dense", "selected", "gains"}  # of a selection
STAGES = ("selected", "fine_tuned")
MEASURED = {"train", "validation", "test"}
SELECTED_BY = (GREEDY, *BASELINES)
KEEP, TOLERANCE = "keep", "tolerance"


class ChannelSweep(NamedTuple):
    """The settings that a sweep over selections of channels varies, the seed aside."""

    goal: str  # KEEP or TOLERANCE
    value: float  # the share or number of channels to keep, or the share of its accuracy that a network may lose
    layers: str  # --layers; "all"


def network_name(by: str, stage: str) -> str:
    """The key of a network in a point; for greedy selection the stage alone, as in runs of main_greedy.py."""
    return stage if by == GREEDY else f"{by} {stage}"


def read_channel_run(directory: RunDirectory) -> GreedyRun | None:
    """The run of main_channels.py in a directory; None if its summary.json is missing, not whole, or of another script.

    A point has the `layers` and `gains` of its greedy selection. `NotFinished` before the first selection.
    """
    summary = whole_summary(directory, Script.CHANNELS, _is_whole)
    if summary is None:
        return None
    settings, rows = summary["settings"], _selections(summary)
    if not rows:
        raise NotFinished(directory.path, "has no finished selection yet")
    return GreedyRun(
        directory.path,
        settings,
        summary,
        _swept(settings),
        _points(rows),
        final={"dense": summary["rounds"][0]["end"]} if "end" in summary["rounds"][0] else {},
        done=len(rows),
        planned=len(settings["prune_at"] or [None]) * (1 + len(settings.get("baselines", ()))),
    )


def _selections(summary: dict) -> list[dict]:
    """The rows of selections; round 0 is the pre-training."""
    return [row for row in summary["rounds"] if row["round"] > 0]


def _is_whole(summary: dict) -> bool:
    rows = _selections(summary)
    networks = [row[network] for row in rows for network in ("dense", *STAGES) if network in row]
    return (
        summary.keys() >= SUMMARY
        and summary["settings"].keys() >= SETTINGS
        and all(row.keys() >= ROW and row.get("by", GREEDY) in SELECTED_BY for row in rows)
        and all(network.keys() >= MEASURED for network in networks)
    )


def _swept(settings: dict) -> ChannelSweep:
    if settings["top1_tol"] is not None:
        return ChannelSweep(TOLERANCE, settings["top1_tol"], settings["layers"] or "all")
    number = settings["keep"].strip()
    return ChannelSweep(KEEP, int(number) if number.isdecimal() else float(number), settings["layers"] or "all")


def _points(rows: list[dict]) -> list[dict]:
    """The selections of one iteration as one point. Baselines come after the greedy selections that they belong to.
    Rows without `by`, from older runs, are of greedy selection."""
    points: dict[int | None, dict] = {}
    for row in rows:
        by = row.get("by", GREEDY)
        point = points.setdefault(row["iteration"], {name: row[name] for name in ROW - {*STAGES}})
        point |= {network_name(by, stage): row[stage] for stage in STAGES if stage in row}
    return list(points.values())
