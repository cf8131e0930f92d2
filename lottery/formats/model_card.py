"""The README.md of a ticket on the Hugging Face hub: what it is, how it was made and how good it was."""

from collections.abc import Iterator, Mapping

from lottery.checkpointing.script_names import Script
from lottery.formats.exported_ticket import TRAINED, ExportedTicket

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


def model_card(ticket: ExportedTicket, summary: Mapping) -> str:
    """`summary` is the summary.json of the run that the ticket comes from; empty if it is not known."""
    facts = ticket.facts
    parts = [
        f"{FRONT}\n# A lottery ticket: {facts.get('arch', 'a network')} on {facts.get('dataset', 'data not recorded')}",
        description(ticket),
        "\n".join(fact_rows(ticket, summary)),
        *made_by(summary),
        f"## Loading it\n\n{LOADING}\n\nAfter each optimiser step, multiply each weight by its mask again.",
        "## Papers to cite\n\n" + "\n".join(f"* {paper}" for paper in papers(ticket.settings)),
    ]
    return "\n\n".join(parts) + "\n"


def description(ticket: ExportedTicket) -> str:
    if ticket.facts["weights"] == TRAINED:
        return (
            "A sparse network with the weights at the end of its training, zero where they are dropped, and its mask."
        )
    return (
        "A sparse network that is still to be trained: the weights that it starts from, zero where they are dropped, \
and its mask."
    )


def fact_rows(ticket: ExportedTicket, summary: Mapping) -> Iterator[str]:
    """A table of what is known."""
    facts = ticket.facts
    yield from ("| | |", "|---|---|")
    kept = f"{facts['kept']:,} of {facts['prunable']:,} prunable ones, density {facts['density']:.4f}"
    yield f"| weights kept | {kept if facts['prunable'] else 'all: the network is dense'} |"
    for name in ("prunings", "step", "seed", "script"):
        if facts.get(name) is not None:
            yield f"| {name} | {facts[name]} |"
    rounds = {row.get("round"): row for row in summary.get("rounds", ())}
    row = rounds.get(facts.get("prunings") or 0, {})
    for name in ("validation", "test"):
        if row.get(name) is not None:
            yield f"| {name} accuracy, trained by its own run | {row[name]:.2f} % |"


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
