"""Lines and tables for the log of a neuron selection. Accuracies in percent, losses on the training examples."""

NETWORK_NAMES = {"dense": "dense", "selected": "selected", "fine_tuned": "fine-tuned"}


def selection_line(point: dict) -> str:
    """One selection, as soon as it is made."""
    selected, dense = point["selected"], point["dense"]
    return (
        f"iteration {point['iteration']}: {len(point['picks'])} picks, {selected['distinct']} distinct neurons, "
        f"loss {selected['loss']:.4f}, train {selected['train']:.2f}, test {selected['test']:.2f} (dense: "
        f"{dense['loss']:.4f}, {dense['train']:.2f}, {dense['test']:.2f}); {point['seconds']:.1f} s"
    )


def result_table(summary: dict) -> list[str]:
    """All selections, what they are compared with, and the first that is good enough."""
    points = summary["points"]
    lines = [
        f"{'':>9}" + "".join(f"{name:>26}" for name in NETWORK_NAMES.values()) + f"{'':>9}" + f"{'loss of':>36}",
        f"{'iteration':>9}" + f"{'loss':>10}{'train':>8}{'test':>8}" * len(NETWORK_NAMES)
        + f"{'distinct':>9}{'random':>12}{'largest':>12}{'bound':>12}",
    ]  # fmt: skip
    lines += [table_row(point) for point in points]
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


def table_row(point: dict) -> str:
    text = f"{point['iteration']:>9}"
    for network in NETWORK_NAMES:
        found = point.get(network)
        text += f"{found['loss']:>10.4f}{found['train']:>8.2f}{found['test']:>8.2f}" if found else f"{'-':>26}"
    text += f"{point['selected']['distinct']:>9}{point['random']['loss']:>12.4f}{point['largest']['loss']:>12.4f}"
    return text + (f"{point['bound']:>12.4f}" if "bound" in point else f"{'-':>12}")


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
