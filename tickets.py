"""Tickets from files, ours or the 2021 code's: a mask and starting weights, checked against the network.

    files = TicketFiles.read(Path("5checkpoint.pth.tar"), Path("5checkpoint.pth.tar"))
    ticket, notes = files.ticket(model)

Each file is read once. All that comes back is on the CPU and shares nothing with the network.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from checkpoint import on_cpu, read, split_state
from given_sets import sequence_of
from models.units import NORMALIZATION, owners
from pruner import Mask, Ticket, Weights, classifier, same
from step import copy_weights
from utils import InputError, digest
from whole_file import is_sealed

if TYPE_CHECKING:
    from workbench import Workbench

INNER = "network"  # where `models.custom.UserNetwork` has a user's network
HOLD_TRAINED = ("main_channels.py",)  # scripts whose tickets hold trained weights before they are trained further


def given_ticket(
    args: argparse.Namespace, bench: "Workbench", trained: bool = False
) -> tuple["TicketFiles", Ticket, list[str]]:
    """The ticket of a script's flags and its files, checked against network, data and split; and what is to be said.

    With `trained` it starts from the trained weights in --init_dir, not from those that their training started from.
    """
    files = TicketFiles.read(args.init_dir, args.mask_dir)
    ticket, notes = files.ticket(bench.model, args.new_classifier, trained)
    for file in files.each:
        notes += file.check_data(*bench.contents.values(), bench.split.validation)
    return files, ticket, notes


def ticket_settings(args: argparse.Namespace, ticket: Ticket) -> dict:
    """What a given ticket adds to a run's settings; nothing if none is given."""
    if not (args.init_dir or args.mask_dir):
        return {}
    return {"ticket checksum": checksum(ticket)} | ({"ticket step": ticket.step} if args.rewind_lr else {})


def checksum(ticket: Ticket) -> str:
    """Tells tickets apart, in a run's settings."""
    return digest(*(value.numpy() for part in (ticket.mask, ticket.weights) for _, value in sorted(part.items())))


# --- the files of a ticket --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TicketFile:
    """A file that a ticket, or a part of it, is taken from: a checkpoint or a plain state_dict."""

    path: Path

    @cached_property
    def content(self) -> dict:
        return read(self.path)

    @cached_property
    def starting_state(self) -> Weights:
        """The starting weights in it, of whatever network: in a checkpoint its `init_weight`, or a state_dict such as
        ``epoch_3_rewind_weight.pt``."""
        state = self.content.get("init_weight", self.content)
        if state is None:
            raise InputError(f"{self.path} was written before the rewinding point: it holds no starting weights yet")
        if state is self.content and ("state_dict" in state or "result" in state):
            raise InputError(f"{self.path} holds no starting weights (`init_weight`): give a checkpoint of a pruning "
                             "script")  # fmt: skip
        return split_state(self.tensors(state))[0]

    @cached_property
    def trained(self) -> tuple[Weights, Mask]:
        """The weights as they were trained, and the mask; it is empty if the network is dense."""
        return split_state(self.tensors(self.content.get("state_dict", self.content)))

    @property
    def step(self) -> int | None:
        """Where in the schedule the starting weights stand, if the file says so."""
        return self.content.get("init_step")

    @property
    def settings(self) -> dict:
        """Of the run that wrote it; empty for a file of the 2021 code."""
        return self.content.get("settings", {})

    def tensors(self, state: object) -> Weights:
        """`state` if it is a state_dict."""
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise InputError(f"{self.path} holds no weights: tensors by name are needed")
        return state

    # --- against a network --------------------------------------------------------------------------------------------

    def starting_weights(self, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)) -> tuple[Weights, list[str]]:
        """The weights a ticket starts from, and what there is to say about them.

        For the `spared` modules the model's own are used; a difference in normalisation is mentioned.
        """
        return self.fitting(self.starting_state, model, spared)

    def trained_weights(
        self, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)
    ) -> tuple[Weights, Mask, list[str]]:
        """The weights that a training left, or a state_dict of them; the mask they were trained under, empty for a
        dense network; and what there is to say about them. InputError if nothing has been trained there.

        For the `spared` modules the model's own weights are used.
        """
        content = self.content
        if "state_dict" in content and content.get("history") == [] and not self.starts_trained:
            raise InputError(f"{self.path} holds no trained weights: the training it is for has not begun")
        weights, mask = self.trained
        if all(f"{INNER}.{name}" in model.state_dict() for name in weights):  # as the network's own makers keep it
            weights = {f"{INNER}.{name}": value for name, value in weights.items()}
        found, notes = self.fitting(weights, model, spared)
        if content.get("momentum") is not None:  # which a finished training has no more
            notes.append(f"{self.path} is of a training that has not come to its end: its weights are used as they are")
        return found, mask, notes

    @property
    def starts_trained(self) -> bool:
        """Whether its ticket has trained weights although no training of its own has begun."""
        return self.settings.get("script") in HOLD_TRAINED or self.settings.get("weights") == "trained"

    def fitting(self, state: Weights, model: nn.Module, spared: Sequence[str]) -> tuple[Weights, list[str]]:
        """`state` with the model's own weights for the `spared` modules, and a note where its normalisation is another;
        InputError if it does not fit."""
        own = on_cpu(copy_weights(model))
        self.check_fit(state, own, spared)
        if broken := [name for name, value in state.items() if not value.isfinite().all()]:
            raise InputError(f"{self.path} is no starting point: {broken[0]} holds values that are not finite")
        foreign = [name for name in own if owners(name, [NORMALIZATION]) and not _equal(state.get(name), own[name])]
        notes = [f"{self.path} was made with another input normalisation; this data set's own is used"]
        return {name: own[name] if owners(name, spared) else state[name] for name in own}, notes if foreign else []

    def mask(self, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)) -> Mask:
        """The mask, without that of `spared` modules; empty if the network is dense. InputError if it does not fit."""
        weights, mask = self.trained
        self.check_fit(weights, model.state_dict(), spared)
        if strangers := mask.keys() - dict(model.named_parameters()).keys():
            raise InputError(
                f"{self.path} has a mask for {sorted(strangers)[0]}, which is no parameter of this network"
            )
        return {name: layer for name, layer in mask.items() if not owners(name, spared)}

    def check_fit(self, state: Weights, own: Weights, spared: Sequence[str]) -> None:
        """InputError unless `state` has the network's names and shapes, `spared` modules aside."""
        there = {name: tuple(value.shape) for name, value in state.items() if not owners(name, spared)}
        here = {name: tuple(value.shape) for name, value in own.items() if not owners(name, spared)}
        if there.keys() != here.keys():
            name = sorted(there.keys() ^ here.keys())[0]
            where = "is there and not in" if name in there else "is missing there and in"
            raise InputError(f"{self.path} belongs to another network: {name} {where} this network")
        for name, shape in here.items():
            if there[name] != shape:
                raise InputError(
                    f"{self.path} belongs to another network: {name} is {dims(there[name])} there, {dims(shape)} here; "
                    "do the architecture, its stem and the number of classes fit? (--new_classifier for other classes)"
                )

    # --- against data -------------------------------------------------------------------------------------------------

    def check_data(self, data_checksum: str, split_checksum: str, validation: Tensor) -> list[str]:
        """InputError if its round had examples that validate here; a note if its data or split is another.

        Whether a checkpoint of the 2021 code comes from this data set cannot be known; it is taken to.
        """
        if self.settings.get("data checksum", data_checksum) != data_checksum:
            return [f"{self.path} was found on another data set"]
        notes = []
        if self.settings.get("split checksum", split_checksum) != split_checksum:
            notes.append(f"{self.path} was found with another --split_file: it may know examples that validate here")
        seen = int(np.isin(self.sequence, validation.cpu().numpy()).sum())
        if seen:
            raise InputError(
                f"{self.path} was found with {seen} examples that validate here: give the --split_file and the "
                "--val_fraction it was found with"
            )
        return notes

    @property
    def sequence(self) -> np.ndarray:
        """The examples it was found with, as far as it says."""
        return sequence_of(self.content, self.path) if "sequence" in self.content else np.empty(0, dtype=np.int64)


class TicketFiles(NamedTuple):
    """Where a ticket's starting weights (`--init_dir`) and its mask (`--mask_dir`) are taken from, if at all."""

    init: TicketFile | None
    mask: TicketFile | None

    @classmethod
    def read(cls, init: Path | None, mask: Path | None) -> "TicketFiles":
        files = {path: TicketFile(path) for path in (init, mask) if path}
        return cls(files.get(init), files.get(mask))

    @property
    def each(self) -> list[TicketFile]:
        return list(dict.fromkeys(file for file in self if file))

    def ticket(self, model: nn.Module, new_classifier: bool = False, trained: bool = False) -> tuple[Ticket, list[str]]:
        """The ticket, and what there is to say about it.

        Without starting weights the network's own, freshly drawn, are the ticket's; without a mask its mask is empty,
        which is the dense network. With `new_classifier` the network's own classifier is the ticket's, dense, whatever
        the files have for it. With `trained` it starts from trained weights; its step stays the one that the file's
        starting weights stand at, since that is where a rule (rules.py) begins, here and in whatever trains on.
        """
        spared = own_parts(model, new_classifier)
        weights, step, notes = on_cpu(copy_weights(model)), 0, []
        if self.init and trained:
            (weights, _, notes), step = self.init.trained_weights(model, spared), self.init.step
        elif self.init:
            (weights, notes), step = self.init.starting_weights(model, spared), self.init.step
        mask = self.mask.mask(model, spared) if self.mask else {}
        if self.init and trained and self.trained_under(mask):
            notes.append(
                f"{self.init.path} was trained under this very mask: its weights have been trained since they were "
                "pruned; the checkpoint of the round before has those that the mask was pruned from"
            )
        if self.mask and not mask:
            notes.append(f"{self.mask.path} holds no mask: the dense network is trained")
        notes += [
            f"{file.path} carries no checksum, as no file of the 2021 code does: it is used unchecked"
            for file in self.each
            if not is_sealed(file.path)
        ]
        return Ticket(mask, weights, step), notes

    def trained_under(self, mask: Mask) -> bool:
        """Whether the weights of `init` were trained under this mask, not before it was pruned."""
        own = self.init.trained[1]
        return bool(mask) and not self.init.starts_trained and own.keys() == mask.keys() and same(own, mask)

    def check_kept(self, mask: Mask, spared: Sequence[str] = (NORMALIZATION,)) -> None:
        """InputError if a mask keeps weights that had been dropped when those of `init` were trained: they would start,
        and be, at zero. What the mask does not decide about, it keeps; `spared` modules have other weights."""
        lost = sum(
            int((mask[name] & ~layer).sum() if name in mask else (~layer).sum())
            for name, layer in self.init.trained[1].items()
            if not owners(name, spared)
        )
        if lost:
            raise InputError(
                f"{self.init.path} has no trained values for {lost:,} weights that are kept here: they had been "
                "dropped before. Give as --init_dir the checkpoint of the round before the mask's, or a dense network's"
            )

    def as_it_stands(self) -> Ticket:
        """The ticket of two files, compared with no network."""
        return Ticket(self.mask.trained[1], self.init.starting_state, self.init.step)

    @property
    def origin(self) -> dict | None:
        """Where the ticket comes from: the file of its mask, or else of its weights; the prunings it took, and the
        settings of its search, as far as they are known.

        An elastic ticket has a `source` in turn: where the ticket that was carried over comes from.
        """
        if not (file := self.mask or self.init):
            return None
        content = file.content
        found = {"file": str(file.path), "prunings": content.get("state"), "settings": content.get("settings")}
        return found | ({"source": content["source"]} if "source" in content else {})


def own_parts(model: nn.Module, new_classifier: bool) -> tuple[str, ...]:
    """Names of the modules that are the network's own, whatever a ticket has for them: normalisation always."""
    if not new_classifier:
        return (NORMALIZATION,)
    if (last := classifier(model)) is None:
        raise InputError("--new_classifier: this network has no linear layer that could be its classifier")
    return NORMALIZATION, last


def dims(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _equal(a: Tensor | None, b: Tensor) -> bool:
    return a is not None and a.shape == b.shape and torch.allclose(a, b)
