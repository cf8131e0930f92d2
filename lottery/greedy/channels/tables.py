"""Lines and tables for the log of a channel selection, from its rows in the records."""

from collections.abc import Sequence

from lottery.greedy.names import GREEDY
from lottery.greedy.neurons.tables import NETWORK_NAMES, first_match_line


def layer_line(row: dict) -> str:
    """One layer: the channels kept, and the accuracy before and after, on the examples to select by."""
    kept, picks = len(row["kept_channels"]), len(row["picks"])
    more = f" in {picks} picks" if picks > kept else ""
    short = "" if row["reached"] else ", short of its goal"
    return (
        f"  {row['layer']}: {kept} of {row['channels']} channels{more}{short}, accuracy {row['before']:.2f} -> "
        f"{row['after']:.2f}, {row['seconds']:.1f} s"
    )


def selection_line(row: dict, iteration: int | None, by: str) -> str:
    """One selection, before it is fine-tuned."""
    where = "given weights" if iteration is None else f"iteration {iteration}"
    how = "" if by == GREEDY else f", {by}"
    kept, all = channel_counts(row)
    return (
        f"{where}{how}: {kept} of {all} channels kept; test {row['dense']['test']:.2f} dense, "
        f"{row['selected']['test']:.2f} as selected"
    )


def channel_counts(row: dict) -> tuple[int, int]:
    """The channels kept, and all channels, of the layers that were selected in."""
    layers = row["layers"]
    return sum(len(layer["kept_channels"]) for layer in layers), sum(layer["channels"] for layer in layers)


def selection_rows(rounds: Sequence[dict], by: str | None = None) -> list[dict]:
    """The rows of selections among those of all rounds: by one method, or by any if None. Rows of older runs name none
    and are greedy."""
    return [row for row in rounds if row["round"] > 0 and by in (None, row.get("by", GREEDY))]


WIDE = ("parameters", "MFLOPs", "ms (1)", "ms (128)")
HEADINGS = ("iteration", "by", "channels", "dense", "selected", "fine-tuned", *WIDE)


def result_table(rows: Sequence[dict], first: dict[str, dict] | None, delta: float) -> list[str]:
    """A line for each selection: test accuracies, and costs of the small and the whole network; then, for each method,
    the `first` selection that was good enough."""
    rows = sorted(rows, key=lambda row: row["iteration"] or 0)  # baselines beside the greedy selection
    lines = ["  ".join(f"{heading:>{width(heading)}}" for heading in HEADINGS)]
    lines += ["  ".join(f"{cell:>{width(name)}}" for name, cell in zip(HEADINGS, cells(row), strict=True))
              for row in rows]  # fmt: skip
    lines.append("test accuracies in percent; costs before -> after; ms: of a forward pass of so many images")
    for by, found in (first or {}).items():
        for network in (network for network in found if any(network in row for row in rows)):
            how = "" if by == GREEDY else f" ({by})"
            lines.append(first_match_line(f"{NETWORK_NAMES[network]}{how}", found[network], delta))
    return lines


def width(heading: str) -> int:
    return max(len(heading), 20 if heading in WIDE else 9)


def cells(row: dict) -> list[str]:
    before, after = row["gains"]["before"], row["gains"]["after"]
    kept, all = channel_counts(row)
    tuned = row.get("fine_tuned")
    times = [f"{1e3 * before['seconds'][size]:.2f} -> {1e3 * after['seconds'][size]:.2f}" for size in ("1", "128")]
    return [
        "-" if row["iteration"] is None else str(row["iteration"]),
        row.get("by", GREEDY),
        f"{kept}/{all}",
        f"{row['dense']['test']:.2f}",
        f"{row['selected']['test']:.2f}",
        f"{tuned['test']:.2f}" if tuned else "-",
        f"{before['parameters']:,} -> {after['parameters']:,}",
        f"{before['flops'] / 1e6:.2f} -> {after['flops'] / 1e6:.2f}",
        *times,
    ]
