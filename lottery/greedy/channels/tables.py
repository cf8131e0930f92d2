"""What a person sees of a selection of channels."""

from collections.abc import Sequence

from lottery.greedy.names import GREEDY
from lottery.greedy.neurons.tables import NAMES, first_line


def layer_line(row: dict) -> str:
    """One layer: what is kept, and the accuracy on the examples selected by before and after."""
    kept, picks = len(row["kept_channels"]), len(row["picks"])
    more = f" in {picks} picks" if picks > kept else ""
    short = "" if row["reached"] else ", short of its goal"
    return (
        f"  {row['layer']}: {kept} of {row['channels']} channels{more}{short}, accuracy {row['before']:.2f} -> "
        f"{row['after']:.2f}, {row['seconds']:.1f} s"
    )


def point_lines(point: dict, iteration: int | None, by: str) -> list[str]:
    """What was selected at one iteration, before it is tuned."""
    where = "given weights" if iteration is None else f"iteration {iteration}"
    how = "" if by == GREEDY else f", {by}"
    kept, all = kept_of(point)
    return [
        f"{where}{how}: {kept} of {all} channels kept; test {point['dense']['test']:.2f} dense, "
        f"{point['selected']['test']:.2f} as selected"
    ]


def kept_of(point: dict) -> tuple[int, int]:
    """Channels that are kept, and all, of the layers that were selected in."""
    rows = point["layers"]
    return sum(len(row["kept_channels"]) for row in rows), sum(row["channels"] for row in rows)


def selections(rounds: Sequence[dict], by: str | None = None) -> list[dict]:
    """Of a run's rows those of selections, of one kind or, if None, all. Those that do not say are greedy: older runs
    had no others."""
    return [row for row in rounds if row["round"] > 0 and by in (None, row.get("by", GREEDY))]


WIDE = ("parameters", "MFLOPs", "ms (1)", "ms (128)")
HEADINGS = ("iteration", "by", "channels", "dense", "selected", "fine-tuned", *WIDE)


def result_lines(points: Sequence[dict], first: dict[str, dict] | None, delta: float) -> list[str]:
    """A line for each point: test accuracies in percent, and what the small network costs beside the whole one; and
    which were the `first` that were good enough, by how channels were selected."""
    points = sorted(points, key=lambda point: point["iteration"] or 0)  # baselines beside what they are for
    lines = ["  ".join(f"{heading:>{width(heading)}}" for heading in HEADINGS)]
    lines += ["  ".join(f"{cell:>{width(name)}}" for name, cell in zip(HEADINGS, cells(point), strict=True))
              for point in points]  # fmt: skip
    lines.append("test accuracies in percent; costs before -> after; ms: of a forward pass of so many images")
    for by, found in (first or {}).items():
        for network in (network for network in found if any(network in point for point in points)):
            how = "" if by == GREEDY else f" ({by})"
            lines.append(first_line(f"{NAMES[network]}{how}", found[network], delta))
    return lines


def width(heading: str) -> int:
    return max(len(heading), 20 if heading in WIDE else 9)


def cells(point: dict) -> list[str]:
    before, after = point["gains"]["before"], point["gains"]["after"]
    kept, all = kept_of(point)
    tuned = point.get("fine_tuned")
    times = [f"{1e3 * before['seconds'][size]:.2f} -> {1e3 * after['seconds'][size]:.2f}" for size in ("1", "128")]
    return [
        "-" if point["iteration"] is None else str(point["iteration"]),
        point.get("by", GREEDY),
        f"{kept}/{all}",
        f"{point['dense']['test']:.2f}",
        f"{point['selected']['test']:.2f}",
        f"{tuned['test']:.2f}" if tuned else "-",
        f"{before['parameters']:,} -> {after['parameters']:,}",
        f"{before['flops'] / 1e6:.2f} -> {after['flops'] / 1e6:.2f}",
        *times,
    ]
