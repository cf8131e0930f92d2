"""Lines and tables for the log of a neuron selection. Accuracies in percent, losses on the training examples."""

from collections.abc import Sequence

from lottery.terminal import Column, counted, table_lines

NETWORK_NAMES = {"dense": "dense", "selected": "selected", "fine_tuned": "fine-tuned"}
SHORT = {"selected": "sel.", "fine_tuned": "tuned"}
NETWORKS = {network: Column(name, short=SHORT.get(network)) for network, name in NETWORK_NAMES.items()}
ITERATION = Column("iteration", "d", short="iter.")


def selection_line(point: dict) -> str:
    """One selection, as soon as it is made."""
    selected, dense = point["selected"], point["dense"]
    return (
        f"iteration {point['iteration']}: {counted(len(point['picks']), 'pick')}, "
        f"{counted(selected['distinct'], 'distinct neuron')}, "
        f"loss {selected['loss']:.4f}, train {selected['train']:.2f}, test {selected['test']:.2f} (dense: "
        f"{dense['loss']:.4f}, {dense['train']:.2f}, {dense['test']:.2f}); {point['seconds']:.1f} s"
    )


def result_table(summary: dict) -> list[str]:
    """All selections, what they are compared with, and the first that is good enough."""
    points = summary["points"]
    lines = [*accuracy_table(points), "", *loss_table(points)]
    zero = points[0]["zero"]["loss"] if points else None
    if zero is not None:
        lines.append(f"the zero function has a loss of {zero:.4f}" + vacuous_note(points))
    for name, description in {
        "dense": "the fully trained dense network",
        "scratch": "an equally small one from scratch",
    }.items():
        lines.append(f"{description}: {metrics_text(summary[name])}")
    for network, name in NETWORK_NAMES.items():
        if network in summary["first"] and any(network in point for point in points):
            lines.append(first_match_line(name, summary["first"][network], summary["delta"]))
    return lines


def accuracy_table(points: Sequence[dict]) -> list[str]:
    """A row for each selection: its distinct neurons, and the accuracies of the networks."""
    measured = {"train": "train accuracy (%)", "test": "test accuracy (%)"}
    columns = [ITERATION, Column("neurons", "d")]
    columns += [column._replace(form=".2f", group=group) for group in measured.values() for column in NETWORKS.values()]
    rows = [
        [
            point["iteration"],
            point["selected"]["distinct"],
            *(cell for name in measured for cell in network_cells(point, name)),
        ]
        for point in points
    ]
    return table_lines(columns, rows)


def loss_table(points: Sequence[dict]) -> list[str]:
    """A row for each selection: the losses of the networks, of neurons drawn at random and of those with the largest
    |Phi|, and the bound."""
    others = [Column(name, ".4f", group="loss on the training examples") for name in ("random", "largest", "bound")]
    columns = [
        ITERATION,
        *(column._replace(form=".4f", group=others[0].group) for column in NETWORKS.values()),
        *others,
    ]
    rows = [
        [
            point["iteration"],
            *network_cells(point, "loss"),
            *(point[name]["loss"] for name in ("random", "largest")),
            point.get("bound"),
        ]
        for point in points
    ]
    return table_lines(columns, rows)


def network_cells(point: dict, measured: str) -> list[float | None]:
    """What was measured of each network of a selection; None for one that there is not."""
    return [point[network][measured] if point.get(network) else None for network in NETWORKS]


def vacuous_note(points: list[dict]) -> str:
    """The iterations at which the bound is vacuous."""
    if "bound" not in points[0]:
        return "; the bound is of the squared loss only"
    above = [str(point["iteration"]) for point in points if point["vacuous"]]
    return f"; the bound is above that, and so vacuous, at iterations {', '.join(above)}" if above else ""


def metrics_text(network: dict) -> str:
    return f"loss {network['loss']:.4f}, train {network['train']:.2f}, test {network['test']:.2f}"


def first_match_line(name: str, first: dict, delta: float) -> str:
    train, test = ("never" if each is None else f"at iteration {each}" for each in (first["train"], first["test"]))
    points = "point" if delta == 1 else "points"
    return (
        f"{name}, within {delta:g} {points} of the fully trained dense network: on the training examples {train}, on "
        f"the test set {test}"
    )
