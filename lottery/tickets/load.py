"""Load a ticket, a mask and starting weights, from files of this suite or of the 2021 code, and check it.

    files = TicketFiles.read(Path("5checkpoint.pth.tar"), Path("5checkpoint.pth.tar"))
    ticket, notes = files.ticket(model)

Each file is read once. The tensors returned are on the CPU and share no memory with the network.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import nn

from lottery.bases.basis import same_basis
from lottery.checkpointing.checkpoint import on_cpu
from lottery.checkpointing.run_settings import recorded
from lottery.checkpointing.script_names import Script
from lottery.formats.reading import has_checksum
from lottery.tickets import starting_weights
from lottery.tickets.config import TicketConfig
from lottery.tickets.pretrained import load_pretrained_
from lottery.tickets.recorded_facts import prunings
from lottery.tickets.state_dict_formats import names_in
from lottery.tickets.ticket_file import TicketFile
from lottery.training.context import ModelAndData
from lottery.training.network_notes import new_classifier_note
from lottery.training.step import copy_weights
from models.units import NORMALIZATION, owners
from pruner import Mask, Ticket, Weights, classifiers, count, prunable, same, size
from utils import InputError, digest

PRETRAINED = Path("--weights")  # what is said to hold pre-trained weights, whose file a note names


class LoadedTicket(NamedTuple):
    """A ticket and where it comes from.

    `start` says how its weights relate to its mask, as a key of `starting_weights.STARTS`; None for the dense network
    with freshly drawn weights. `notes` are what a user should know about the files. `pretrained` is the checksum of the
    pre-trained weights that took the place of drawn ones, if any.
    """

    files: "TicketFiles"
    ticket: Ticket
    start: str | None
    notes: list[str]
    pretrained: str | None = None

    def settings(self, trained: Ticket, with_step: bool) -> dict:
        """What a ticket from files adds to a run's settings.

        The checksum of what is `trained` (the ticket, or a control made of it), its step if the run begins there
        (`with_step`), and how its weights relate to its mask. Without files only the checksum of pre-trained weights.
        """
        if not self.files.all_files:
            return {"weights checksum": self.pretrained}
        step = {"ticket step": trained.step} if with_step else {}
        found = {"weights checksum": self.pretrained, "ticket checksum": checksum(trained)} | step
        found |= recorded(trained.basis.config) if trained.basis else {}
        return found | ({"ticket start": self.start} if self.start else {})

    @property
    def description(self) -> list[str]:
        """One line that says what was loaded; none for the dense network with freshly drawn weights."""
        return starting_weights.describe(
            self.start, self.files.mask_path, self.files.init_path or (PRETRAINED if self.pretrained else None)
        )

    @property
    def origin(self) -> dict | None:
        """Where the ticket comes from, for the run's records: `TicketFiles.origin`, both files, the checksum, and how
        the weights relate to the mask. If the weights are another run's, their origin as well."""
        if self.start is None:
            return None
        files = (
            self.files if self.ticket.mask or self.start == starting_weights.TICKET else self.files._replace(mask=None)
        )
        names = {f"{part}_file": str(file.path) if file else None for part, file in self.files._asdict().items()}
        others = (
            {"weights": files.init.origin} if files.mask and files.init and self.start == starting_weights.OTHER else {}
        )
        return files.origin | {"start": self.start, "checksum": checksum(self.ticket), **names} | others


def load_ticket(config: TicketConfig, loaded: ModelAndData, trained: bool = False) -> LoadedTicket:
    """Load the ticket of `config` and check it against network, data and split.

    With `trained` its weights are the trained ones in `init_dir`, instead of those that their training started from.
    Pre-trained weights are loaded into the network first, in the place of those that were drawn. InputError if a file
    does not fit the network, or was made with examples that validate here.
    """
    pretrained, notes = None, list[str]()
    if config.weights:
        pretrained, notes = load_pretrained_(config.weights, loaded.model, config.new_classifier)
    found = TicketFiles.read(config.init_dir, config.mask_dir).load(
        loaded.model,
        config.new_classifier,
        trained,
        drawn_with={
            "seed": loaded.seed,
            "arch": loaded.model_config.arch,
            "stem": loaded.model_config.stem,
            "weights checksum": pretrained,
        },
    )
    notes += new_classifier_note(loaded.model) if config.new_classifier else []
    for file in found.files.all_files:
        notes += file.check_data(
            loaded.contents["data checksum"], loaded.contents["split checksum"], loaded.split.validation
        )
    return found._replace(notes=found.notes + notes, pretrained=pretrained)


def checksum(ticket: Ticket) -> str:
    """A checksum of mask, weights and basis: equal for equal tickets."""
    tensors = [value.numpy() for part in (ticket.mask, ticket.weights) for _, value in sorted(part.items())]
    return digest(*tensors, *(ticket.basis.arrays() if ticket.basis else []))


def check_step(step: int | None, steps: int, asked: str = "--rewind_lr") -> None:
    """InputError if a training of `steps` optimiser steps cannot begin after `step`, where a ticket stands.

    `asked` is the flag that asks for it, for the message.
    """
    if step is None:
        raise InputError(
            f"{asked}: --init_dir does not say after how many optimiser steps its weights stand; a checkpoint that "
            "a pruning script of this suite made with --prune_type lt or rewind_lt does"
        )
    if not isinstance(step, int) or step < 0:
        raise InputError(f"{asked}: --init_dir says that its weights stand after step {step!r}, which is none")
    if step >= steps:
        raise InputError(
            f"{asked} would begin after step {step}, where the ticket stands; this training has only {steps} "
            "optimiser steps"
        )


# --- the files of a ticket --------------------------------------------------------------------------------------------


class TicketFiles(NamedTuple):
    """The files of a ticket's starting weights (`--init_dir`) and mask (`--mask_dir`); None where not given."""

    init: TicketFile | None
    mask: TicketFile | None

    @classmethod
    def read(cls, init: Path | None, mask: Path | None) -> "TicketFiles":
        files = {path: TicketFile(path) for path in (init, mask) if path}
        return cls(files.get(init), files.get(mask))

    @property
    def all_files(self) -> list[TicketFile]:
        return list(dict.fromkeys(file for file in self if file))

    @property
    def init_path(self) -> Path | None:
        return self.init.path if self.init else None

    @property
    def mask_path(self) -> Path | None:
        return self.mask.path if self.mask else None

    def load(
        self, model: nn.Module, new_classifier: bool = False, trained: bool = False, drawn_with: Mapping | None = None
    ) -> LoadedTicket:
        """The ticket, with how its weights relate to its mask.

        `drawn_with` are the settings (`starting_weights.DRAWING`) that the model's initial weights follow from.
        """
        ticket, notes = self.ticket(model, new_classifier, trained)
        spared = own_modules(model, new_classifier)
        drawn_alike = bool(self.mask and drawn_with) and starting_weights.draws_alike(self.mask.settings, drawn_with)
        pretrained = bool(drawn_with and drawn_with.get("weights checksum"))
        began = recorded_start(self.init, model, spared) if self.init and trained else ticket.weights
        start = starting_weights.classify_start(
            ticket,
            recorded_start(self.mask, model, spared),
            began=began,
            given=self.init is not None or (pretrained and bool(ticket.mask) and not drawn_alike),
            drawn_alike=drawn_alike,
            spared=spared,
        )
        return LoadedTicket(self, ticket, start, notes)

    def ticket(self, model: nn.Module, new_classifier: bool = False, trained: bool = False) -> tuple[Ticket, list[str]]:
        """The ticket, and notes about its files.

        Without a file of weights it has the network's own, freshly drawn; without a file of a mask its mask is empty,
        which is the dense network. With `new_classifier` the classifier is the network's own, dense, whatever the files
        hold. With `trained` it has trained weights, while its step stays that of the file's starting weights: this is
        where a rule (retraining/rules.py) begins.
        """
        spared = own_modules(model, new_classifier)
        weights, step, notes = on_cpu(copy_weights(model)), 0, list[str]()
        if self.init and trained:
            (weights, _, notes), step = self.init.trained_weights(model, spared), self.init.step
        elif self.init:
            (weights, notes), step = self.init.starting_weights(model, spared), self.init.step
        mask = self.final_mask(model, spared) if self.mask else {}
        notes += self.mask.mask_notes(model, spared) if self.mask else []
        if self.init and trained and self.trained_under(mask, model, spared):
            notes.append(
                f"{self.init.path} was trained under this very mask: its weights have been trained since they were "
                "pruned; the checkpoint of the round before has those that the mask was pruned from"
            )
        if trained and (note := self.other_round()):
            notes.append(note)
        if self.mask and not mask:
            notes.append(f"{self.mask.path} holds no mask: the dense network is trained")
        notes += [
            f"{file.path} carries no checksum, as files of other tools do not: it is used unchecked"
            for file in self.all_files
            if not has_checksum(file.path, file.content)
        ]
        basis = self.mask.basis_for(model, spared) if self.mask and mask else None
        return Ticket(mask, weights, step, basis), list(dict.fromkeys(notes))

    def final_mask(self, model: nn.Module, spared: Sequence[str]) -> Mask:
        """The mask of its file; InputError for one that was still changing when a training under it was saved, and for
        one that leaves the network no prunable weight."""
        assert self.mask is not None
        self.mask.check_final()
        mask = self.mask.mask(model, spared)
        if mask and not count(mask):
            whole = set(prunable(model, prune_classifier=True)) - mask.keys()
            if all(owners(name, classifiers(model)) for name in whole):
                found = f"{self.mask.path} keeps none of {size(mask):,} prunable weights"
                raise InputError(f"{found}: there is nothing to train")
        return mask

    def other_round(self) -> str | None:
        """A note where two rounds of searches are given that do not follow each other: the mask was pruned from other
        trained weights than those of `init`."""
        weights, pruned = (prunings(file.content) if file else None for file in (self.init, self.mask))
        if weights is None or pruned is None or weights in (pruned, pruned - 1):
            return None
        return (
            f"{self.init.path} has the trained weights of round {weights}, and the mask in {self.mask.path} was pruned "
            f"from those of round {pruned - 1}"
        )

    def trained_under(self, mask: Mask, model: nn.Module, spared: Sequence[str]) -> bool:
        """Whether the trained weights of `init` were trained under this mask, rather than before it was pruned."""
        in_rounds = self.init.settings.get("script") != Script.DST  # whose one training ends under its ticket's mask
        return in_rounds and bool(mask) and not self.init.starts_trained and same(self.init.mask(model, spared), mask)

    def check_kept(self, mask: Mask, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)) -> None:
        """InputError if the mask keeps weights that were already dropped when those of `init` were trained.

        They would start at zero. Weights that the mask does not mention are kept; `spared` modules have other weights.
        """
        if self.mask and self.init.trained[1] and not same_basis(self.init.basis, self.mask.basis):
            raise InputError(
                f"{self.init.path} was trained under a mask in another basis than that of {self.mask.path}: give as "
                "--init_dir the checkpoint of the round before the mask's, or a dense network's"
            )
        lost = sum(
            int((mask[name] & ~layer).sum() if name in mask else (~layer).sum())
            for name, layer in self.init.mask(model, spared).items()
        )
        if lost:
            raise InputError(
                f"{self.init.path} has no trained values for {lost:,} weights that are kept here: they had been "
                "dropped before. Give as --init_dir the checkpoint of the round before the mask's, or a dense network's"
            )

    def unmodified(self) -> Ticket:
        """The ticket of the two files, not checked against a network."""
        return Ticket(self.mask.trained[1], self.init.starting_state, self.init.step, self.mask.basis)

    @property
    def origin(self) -> dict | None:
        """The origin of the mask's file, or else of the weights'; None without files."""
        file = self.mask or self.init
        return file.origin if file else None


def recorded_start(file: TicketFile | None, model: nn.Module, spared: Sequence[str]) -> Weights | None:
    """The weights that a file says its ticket starts from, by the names of this network; None if it does not say."""
    if file is None or (found := file.recorded_start) is None:
        return None
    names = names_in(model, found, spared)
    return {names[name]: value for name, value in found.items()}


def own_modules(model: nn.Module, new_classifier: bool) -> tuple[str, ...]:
    """Modules whose weights are the network's own, whatever a ticket holds: normalisation always, and a new
    classifier."""
    if not new_classifier:
        return (NORMALIZATION,)
    if not (last := classifiers(model)):
        raise InputError("--new_classifier: this network has no layer that could be its classifier")
    return NORMALIZATION, *last
