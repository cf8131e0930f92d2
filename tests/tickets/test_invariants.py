"""The invariants of tickets, each broken by its breach alone."""

import dataclasses

import pytest
import torch

import pruner
from lottery.patterns import Pattern, prune_to_pattern
from lottery.search import imp as search
from lottery.tickets import invariants
from lottery.tickets.invariants import TicketFacts, check
from lottery.training.step import copy_weights
from pruner import Ticket

QUICK = "--dataset digits --arch tests.networks:tiny --epochs 4 --decreasing_lr 2 --batch_size 64".split()


@pytest.fixture
def ticket(tiny):
    """A fresh ticket, with all that can be known of it."""
    dense, weights = pruner.dense(tiny), copy_weights(tiny)
    mask = prune_to_pattern(dense, pruner.magnitude(weights, dense), Pattern(2, 4))
    started = {name: value * mask.get(name, True) for name, value in copy_weights(tiny).items()}
    return TicketFacts(
        mask=mask,
        weights=started,
        rewound=weights,
        untrained=True,
        kept=4 * 9 + 6 * 4 * 9 // 2,  # conv1 has one input, which 4 does not divide
        pattern=Pattern(2, 4),
        before=pruner.dense(tiny),
        rewinding=copy_weights(tiny),
        examples=torch.tensor([1, 4, 7]),
        training=torch.arange(8),
        validation=torch.tensor([8, 9]),
        transferred=Ticket(mask, weights),
    )


def verdicts(facts):
    return {found.invariant: found.holds for found in check(facts)}


def test_a_right_ticket_obeys_every_law(ticket):
    assert verdicts(ticket) == dict.fromkeys(invariants.INVARIANTS, True)


def test_what_is_not_known_is_not_judged(ticket):
    bare = TicketFacts(mask=ticket.mask, weights=ticket.weights)
    found = verdicts(bare)
    assert {law for law, holds in found.items() if holds} == {"finite weights", "dropped weights"}
    assert set(found.values()) == {True, None}


def altered(mapping, name, index, value):
    changed = mapping[name].clone()
    changed.view(-1)[index] = value
    return mapping | {name: changed}


def test_each_law_is_broken_by_its_breach(ticket):
    first = "conv2.weight"
    dropped = int((~ticket.mask[first]).view(-1).nonzero()[0])
    alive = int(ticket.mask[first].view(-1).nonzero()[0])
    breaches = {
        "finite weights": {"weights": altered(ticket.weights, "fc.bias", 0, float("inf")), "untrained": False},
        "exact density": {"kept": ticket.kept + 1},
        "N:M pattern": {"pattern": Pattern(1, 2)},
        "dropped weights": {"weights": altered(ticket.weights, first, dropped, 1e-30), "untrained": False},
        "subset of the mask before": {"before": altered(ticket.before, first, alive, False)},
        "rewinding weights": {"rewinding": altered(ticket.rewinding, "fc.bias", 0, 5.0)},
        "starting weights": {"weights": altered(ticket.weights, first, alive, 5.0)},
        "the source, transferred again": {
            "transferred": Ticket(altered(ticket.mask, first, alive, False), ticket.rewound)
        },
        "examples, each once": {"examples": torch.tensor([1, 4, 4])},
        "examples of the training split": {"training": torch.arange(7)},
        "no example validates": {"validation": torch.tensor([7, 9])},
    }
    assert breaches.keys() == invariants.INVARIANTS.keys()
    for law, breach in breaches.items():
        found = verdicts(dataclasses.replace(ticket, **breach))
        assert [name for name, holds in found.items() if holds is False] == [law]


def test_a_search_checks_what_it_makes(tmp_path, call, monkeypatch):
    """A pruning that kept one weight too many would not get past it."""

    def too_few(mask, scores, number, pattern):
        return real(mask, scores, number - 1, pattern)

    real = search.pruned
    monkeypatch.setattr(search, "pruned", too_few)
    status, _, err = call("main_imp", *QUICK, "--pruning_times", 1, "--save_dir", tmp_path)
    assert status == 1 and "exact density" in err and not (tmp_path / "1checkpoint.pth.tar").exists()
