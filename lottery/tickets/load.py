"""Tickets from files, ours or the 2021 code's: a mask and starting weights, checked against the network.

    files = TicketFiles.read(Path("5checkpoint.pth.tar"), Path("5checkpoint.pth.tar"))
    ticket, notes = files.ticket(model)

Each file is read once. All that comes back is on the CPU and shares nothing with the network.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import nn

from lottery.checkpointing.atomic_file import is_sealed
from lottery.checkpointing.checkpoint import on_cpu
from lottery.tickets import starting_weights
from lottery.tickets.config import TicketConfig
from lottery.tickets.state_dict_formats import names_in
from lottery.tickets.ticket_file import TicketFile
from lottery.training.context import ModelAndData
from lottery.training.network_notes import fresh_note
from lottery.training.step import copy_weights
from models.units import NORMALIZATION
from pruner import Mask, Ticket, Weights, classifiers, same
from utils import InputError, digest


class LoadedTicket(NamedTuple):
    """A ticket from a script's flags: its files, what its weights are to its mask (a key of
    `starting_weights.STARTS`; None for a dense network with weights of its own), and what is to be said of them."""

    files: "TicketFiles"
    ticket: Ticket
    start: str | None
    notes: list[str]

    def settings(self, trained: Ticket, with_step: bool) -> dict:
        """What a ticket from files adds to a run's settings: the checksum of what is `trained`, itself or a control of
        it; its step, where the run begins there; and what its weights are to its mask."""
        if not self.files.each:
            return {}
        step = {"ticket step": trained.step} if with_step else {}
        return {"ticket checksum": checksum(trained)} | step | ({"ticket start": self.start} if self.start else {})

    @property
    def description(self) -> list[str]:
        """What is given, in words."""
        return starting_weights.told(self.start, self.files.mask and self.files.mask.path, self.files.init_path)

    @property
    def origin(self) -> dict | None:
        """For the records: `TicketFiles.origin`, with both files, the checksum, and what the weights are to the mask.

        Of weights that are another run's also where they come from.
        """
        if self.start is None:
            return None
        files = (
            self.files if self.ticket.mask or self.start == starting_weights.TICKET else self.files._replace(mask=None)
        )
        names = {f"{part}_file": str(file.path) if file else None for part, file in self.files._asdict().items()}
        others = {"weights": files.init.origin} if files.mask and self.start == starting_weights.OTHER else {}
        return files.origin | {"start": self.start, "checksum": checksum(self.ticket), **names} | others


def load_ticket(config: TicketConfig, loaded: ModelAndData, trained: bool = False) -> LoadedTicket:
    """The ticket in the files that are asked for, checked against network, data and split.

    With `trained` it starts from the trained weights in `init_dir`, not from those that their training started from.
    """
    found = TicketFiles.read(config.init_dir, config.mask_dir).given(
        loaded.model,
        config.new_classifier,
        trained,
        here={"seed": loaded.seed, "arch": loaded.model_config.arch, "stem": loaded.model_config.stem},
    )
    notes = fresh_note(loaded.model) if config.new_classifier else []
    for file in found.files.each:
        notes += file.check_data(*loaded.contents.values(), loaded.split.validation)
    return found._replace(notes=found.notes + notes)


def checksum(ticket: Ticket) -> str:
    """Tells tickets apart, in a run's settings."""
    return digest(*(value.numpy() for part in (ticket.mask, ticket.weights) for _, value in sorted(part.items())))


def check_step(step: int | None, steps: int, asked: str = "--rewind_lr") -> None:
    """InputError if a training of so many `steps` cannot begin after this one, where a ticket stands, as the flag that
    is `asked` for has it."""
    if step is None:
        raise InputError(
            f"{asked}: --init_dir does not say after how many optimiser steps its weights stand; a checkpoint that "
            "a pruning script of this suite made with --prune_type lt or rewind_lt does"
        )
    if step >= steps:
        raise InputError(
            f"{asked} would begin after step {step}, where the ticket stands; this training has only {steps} "
            "optimiser steps"
        )


# --- the files of a ticket --------------------------------------------------------------------------------------------


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

    @property
    def init_path(self) -> Path | None:
        return self.init and self.init.path

    def given(
        self, model: nn.Module, new_classifier: bool = False, trained: bool = False, here: Mapping | None = None
    ) -> LoadedTicket:
        """`ticket`, and what its weights are to its mask; `here` are the settings that the model's weights were drawn
        with."""
        ticket, notes = self.ticket(model, new_classifier, trained)
        spared = own_parts(model, new_classifier)
        drawn_alike = bool(self.mask and here) and starting_weights.draws_alike(self.mask.settings, here)
        begun = recorded(self.init, model, spared) if self.init and trained else ticket.weights
        start = starting_weights.start_of(
            ticket,
            recorded(self.mask, model, spared),
            begun=begun,
            given=self.init is not None,
            drawn_alike=drawn_alike,
            spared=spared,
        )
        return LoadedTicket(self, ticket, start, notes)

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
        notes += self.mask.mask_notes(model, spared) if self.mask else []
        if self.init and trained and self.trained_under(mask, model, spared):
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
        return Ticket(mask, weights, step), list(dict.fromkeys(notes))

    def trained_under(self, mask: Mask, model: nn.Module, spared: Sequence[str]) -> bool:
        """Whether the weights of `init` were trained under this mask, not before it was pruned."""
        return bool(mask) and not self.init.starts_trained and same(self.init.mask(model, spared), mask)

    def check_kept(self, mask: Mask, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)) -> None:
        """InputError if a mask keeps weights that had been dropped when those of `init` were trained: they would start,
        and be, at zero. What the mask does not decide about, it keeps; `spared` modules have other weights."""
        lost = sum(
            int((mask[name] & ~layer).sum() if name in mask else (~layer).sum())
            for name, layer in self.init.mask(model, spared).items()
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
        """Where the ticket comes from: the file of its mask, or else of its weights."""
        file = self.mask or self.init
        return file and file.origin


def recorded(file: TicketFile | None, model: nn.Module, spared: Sequence[str]) -> Weights | None:
    """The weights that the ticket in a file starts from, under the names of this network; None if it does not say."""
    if file is None or (found := file.recorded_start) is None:
        return None
    names = names_in(model, found, spared)
    return {names[name]: value for name, value in found.items()}


def own_parts(model: nn.Module, new_classifier: bool) -> tuple[str, ...]:
    """Names of the modules that are the network's own, whatever a ticket has for them: normalisation always."""
    if not new_classifier:
        return (NORMALIZATION,)
    if not (last := classifiers(model)):
        raise InputError("--new_classifier: this network has no layer that could be its classifier")
    return NORMALIZATION, *last
