"""The README.md of a ticket on the Hugging Face hub: what it is, how it was made and how good it was."""

from collections.abc import Iterator, Mapping

from lottery.checkpointing.script_names import Script
from lottery.formats.exported_ticket import STARTING, UNRECORDED, ExportedTicket, counted_layers, which_weights

TICKETS = 'Frankle & Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks", ICLR 2019'
REWINDING = 'Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020'
PAPERS = {
    Script.PRAC_IMP: 'Zhang et al., "Efficient Lottery Ticket Finding: Less Data is More", ICML 2021',
    Script.ELASTIC: 'Chen et al., "The Elastic Lottery Ticket Hypothesis", NeurIPS 2021',
}
PAPER_OF_CRITERION = {  # of main_init.py
    "snip": 'Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019',
    "grasp": 'Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020',
    "synflow": 'Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow", '
    "NeurIPS 2020",
}
RIGL = 'Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020'
PAPER_OF_METHOD = {  # of main_dst.py
    "static": RIGL,
    "set": 'Mocanu et al., "Scalable Training of Artificial Neural Networks with Adaptive Sparse Connectivity Inspired '
    'by Network Science", Nature Communications 2018',
    "rigl": RIGL,
    "gmp": 'Zhu & Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017',
    "acdc": 'Peste et al., "AC/DC: Alternating Compressed/DeCompressed Training of Deep Neural Networks", NeurIPS 2021',
    "dpf": 'Lin et al., "Dynamic Model Pruning with Feedback", ICLR 2020',
}
FRONT = """---
library_name: pytorch
tags:
- lottery-ticket-hypothesis
- pruning
- sparsity
---
"""
LOADING = """```python
from safetensors.torch import load_file

file = load_file("model.safetensors")
mask = {name.removesuffix("_mask"): keep for name, keep in file.items() if name.endswith("_mask")}
model.load_state_dict({name: value for name, value in file.items() if not name.endswith("_mask")})  # zero where dropped
```"""

MASKING = "After each optimiser step, multiply each weight by its mask again."


def model_card(ticket: ExportedTicket, summary: Mapping) -> str:
    """`summary` is the summary.json of the run that the ticket comes from; empty if it is not known."""
    facts = ticket.facts
    parts = [
        f"{FRONT}\n# {title(ticket)}: {facts.get('arch', 'a network')} on {facts.get('dataset', 'data not recorded')}",
        description(ticket),
        "\n".join([*fact_rows(ticket), *accuracy_rows(facts, summary)]),
        *made_by(summary),
        f"## Loading it\n\n{LOADING}" + (f"\n\n{MASKING}" if ticket.mask else ""),
        "## Papers to cite\n\n" + "\n".join(f"* {paper}" for paper in papers(ticket.settings)),
    ]
    return "\n\n".join(parts) + "\n"


def title(ticket: ExportedTicket) -> str:
    return "A lottery ticket" if ticket.mask else "A dense network"


def description(ticket: ExportedTicket) -> str:
    """What the file holds, in a sentence."""
    holds = {STARTING: " that is still to be trained: ", UNRECORDED: ": "}.get(ticket.facts["weights"], " with ")
    weights = which_weights(ticket.facts)
    if not ticket.mask:
        return f"A dense network{holds}{weights}, without a mask."
    return f"A sparse network{holds}{weights}, zero where they are dropped, and its mask."


def fact_rows(ticket: ExportedTicket) -> Iterator[str]:
    """A table of what is known."""
    facts = ticket.facts
    yield from ("| | |", "|---|---|")
    kept = f"{facts['kept']:,} of {facts['prunable']:,} prunable ones, density {facts['density']:.4f}"
    yield f"| weights kept | {kept + counted_layers(facts) if facts['prunable'] else 'all: the network is dense'} |"
    for name in ("prunings", "step", "seed", "script"):
        if facts.get(name) is not None:
            yield f"| {name} | {facts[name]} |"


def accuracy_rows(facts: Mapping, summary: Mapping) -> Iterator[str]:
    """Of trained weights their own accuracies, as far as they were measured; where the file does not say them, and of
    starting weights, those that their run came to, which are of its best validation epoch."""
    row, label = facts.get("accuracy"), "of these weights"
    if row is None:
        rounds = {row.get("round"): row for row in summary.get("rounds", ())}
        row, label = rounds.get(facts.get("prunings") or 0, {}), "trained by its own run"
        label += "" if row.get("validation") is None else ", best validation epoch"
    for name in ("validation", "test"):
        if row.get(name) is not None:
            yield f"| {name} accuracy, {label} | {row[name]:.2f} % |"


def made_by(summary: Mapping) -> Iterator[str]:
    """The command of its run, if known."""
    if summary.get("command"):
        yield f"## How it was made\n\n```bash\n{summary['command']}\n```"


def papers(settings: Mapping) -> list[str]:
    """The papers of what made the ticket."""
    rewound = settings.get("prune_type") == "rewind_lt"
    found = [PAPERS.get(settings.get("script")), PAPER_OF_CRITERION.get(settings.get("criterion"))]
    found += [PAPER_OF_METHOD.get(settings.get("method"))]
    return [TICKETS, *([REWINDING] if rewound else []), *filter(None, found)]
