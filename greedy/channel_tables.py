"""What a person sees of a selection of channels."""

from collections.abc import Sequence

from greedy.tables import NAMES, first_line


def layer_line(row: dict) -> str:
    """One layer: what is kept, and the accuracy on the examples selected by before and after."""
    kept, picks = len(row["kept_channels"]), len(row["picks"])
    more = f" in {picks} picks" if picks > kept else ""
    short = "" if row["reached"] else ", short of its goal"
    return (
        f"  {row['layer']}: {kept} of {row['channels']} channels{more}{short}, accuracy {row['before']:.2f} -> "
        f"{row['after']:.2f}, {row['seconds']:.1f} s"
    )


def point_lines(point: dict, iteration: int | None) -> list[str]:
    """What was selected at one iteration, before it is tuned."""
    where = "given weights" if iteration is None else f"iteration {iteration}"
    kept, all = kept_of(point)
    return [
        f"{where}: {kept} of {all} channels kept; test {point['dense']['test']:.2f} dense, "
        f"{point['selected']['test']:.2f} as selected"
    ]


def kept_of(point: dict) -> tuple[int, int]:
    """Channels that are kept, and all, of the layers that were selected in."""
    rows = point["layers"]
    return sum(len(row["kept_channels"]) for row in rows), sum(row["channels"] for row in rows)


HEADINGS = ("iteration", "channels", "dense", "selected", "fine-tuned", "parameters", "MFLOPs", "ms (1)", "ms (128)")


def result_lines(points: Sequence[dict], first: dict | None, delta: float) -> list[str]:
    """A line for each point: test accuracies in percent, and what the small network costs beside the whole one."""
    lines = ["  ".join(f"{heading:>{width(heading)}}" for heading in HEADINGS)]
    lines += ["  ".join(f"{cell:>{width(name)}}" for name, cell in zip(HEADINGS, cells(point), strict=True))
              for point in points]  # fmt: skip
    lines.append("test accuracies in percent; costs before -> after; ms: of a forward pass of so many images")
    for network, name in NAMES.items():
        if first and any(network in point for point in points) and network in first:
            lines.append(first_line(name, first[network], delta))
    return lines


def width(heading: str) -> int:
    return max(len(heading), 20 if heading in HEADINGS[5:] else 9)


def cells(point: dict) -> list[str]:
    before, after = point["gains"]["before"], point["gains"]["after"]
    kept, all = kept_of(point)
    tuned = point.get("fine_tuned")
    times = [f"{1e3 * before['seconds'][size]:.2f} -> {1e3 * after['seconds'][size]:.2f}" for size in ("1", "128")]
    return [
        "-" if point["iteration"] is None else str(point["iteration"]),
        f"{kept}/{all}",
        f"{point['dense']['test']:.2f}",
        f"{point['selected']['test']:.2f}",
        f"{tuned['test']:.2f}" if tuned else "-",
        f"{before['parameters']:,} -> {after['parameters']:,}",
        f"{before['flops'] / 1e6:.2f} -> {after['flops'] / 1e6:.2f}",
        *times,
    ]
