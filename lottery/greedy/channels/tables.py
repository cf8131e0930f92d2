"""Lines and tables for the log of a channel selection, from its rows in the records."""

from collections.abc import Sequence

from lottery.greedy.names import GREEDY
from lottery.greedy.neurons.tables import NETWORK_NAMES, first_match_line
from lottery.terminal import Column, counted, table_lines


def layer_line(row: dict) -> str:
    """One layer: the channels kept, and the accuracy before and after, on the examples to select by."""
    kept, picks = len(row["kept_channels"]), len(row["picks"])
    more = f" in {picks} picks" if picks > kept else ""
    short = "" if row["reached"] else ", short of its goal"
    return (
        f"  {row['layer']}: {kept} of {counted(row['channels'], 'channel')}{more}{short}, accuracy "
        f"{row['before']:.2f} -> {row['after']:.2f}, {row['seconds']:.1f} s"
    )


def selection_line(row: dict, iteration: int | None, by: str) -> str:
    """One selection, before it is fine-tuned."""
    where = "given weights" if iteration is None else f"iteration {iteration}"
    how = "" if by == GREEDY else f", {by}"
    kept, all = channel_counts(row)
    return (
        f"{where}{how}: {kept} of {counted(all, 'channel')} kept; test {row['dense']['test']:.2f} dense, "
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


def result_table(rows: Sequence[dict], first: dict[str, dict] | None, delta: float) -> list[str]:
    """Test accuracies of all selections, the costs of the small and the whole network, and for each method the `first`
    selection that was good enough."""
    rows = sorted(rows, key=lambda row: row["iteration"] or 0)  # baselines beside the greedy selection
    lines = [*accuracy_table(rows), "", *cost_tables(rows)]
    for by, found in (first or {}).items():
        for network in (network for network in found if any(network in row for row in rows)):
            how = "" if by == GREEDY else f" ({by})"
            lines.append(first_match_line(f"{NETWORK_NAMES[network]}{how}", found[network], delta))
    return lines


SELECTION = [Column("iteration", "d", short="iter."), Column("by")]


def selection_cells(row: dict) -> tuple[int | None, str]:
    return row["iteration"], row.get("by", GREEDY)


def accuracy_table(rows: Sequence[dict]) -> list[str]:
    """The channels of each selection, and the test accuracies of its networks."""
    columns = [*SELECTION, Column("channels")]
    columns += [Column(name, ".2f", group="test accuracy (%)") for name in NETWORK_NAMES.values()]
    return table_lines(columns, [(*selection_cells(row), *accuracy_cells(row)) for row in rows])


def accuracy_cells(row: dict) -> list[str | float | None]:
    kept, all = channel_counts(row)
    return [f"{kept}/{all}", *(row[network]["test"] if row.get(network) else None for network in NETWORK_NAMES)]


def cost_tables(rows: Sequence[dict]) -> list[str]:
    """What the whole and the small network of each selection cost: sizes, and below them the milliseconds of a forward
    pass of one image and of 128."""
    sizes = table_lines([*SELECTION, *pair("parameters", ","), *pair("MFLOPs", ".2f")],
                        [(*selection_cells(row), *size_cells(row["gains"])) for row in rows])  # fmt: skip
    times = table_lines([*SELECTION, *pair("ms, 1 image", ".2f"), *pair("ms, 128 images", ".2f")],
                        [(*selection_cells(row), *time_cells(row["gains"])) for row in rows])  # fmt: skip
    return [*sizes, "", *times]


def pair(cost: str, form: str) -> list[Column]:
    """The columns of a cost of both networks."""
    return [Column(network, form, width=6, group=cost) for network in ("whole", "small")]


def size_cells(gains: dict) -> list[float]:
    networks = gains["before"], gains["after"]
    return [*(each["parameters"] for each in networks), *(each["flops"] / 1e6 for each in networks)]


def time_cells(gains: dict) -> list[float]:
    return [1e3 * gains[when]["seconds"][images] for images in ("1", "128") for when in ("before", "after")]
