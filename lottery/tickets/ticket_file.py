"""One file that holds a ticket or a part of it, checked against a network and its data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lottery.bases.basis import Basis, basis_in
from lottery.checkpointing.checkpoint import on_cpu, split_state, split_ticket
from lottery.checkpointing.recorded_flags import data_flags, network_flags, split_flags
from lottery.checkpointing.script_names import Script
from lottery.formats.exported_ticket import UNFINISHED, unfinished_note
from lottery.formats.masks import MASKS, beside_weights, is_plain, masked_content
from lottery.formats.reading import read_content
from lottery.tickets.given_masks import fitted_mask, mask_names
from lottery.tickets.prac_set_files import read_sequence
from lottery.tickets.recorded_facts import mask_is_final, trained_until
from lottery.tickets.state_dict_formats import cast, check_fit, names_in, renamed, unwrapped
from lottery.training.step import copy_weights
from models.network_state import is_extra_state, tensors
from models.units import NORMALIZATION, owners
from pruner import Mask, Weights
from utils import InputError


@dataclass(frozen=True)
class TicketFile:
    """A checkpoint, a plain state_dict or another format of lottery/formats/, read once when it is first needed."""

    path: Path

    @cached_property
    def content(self) -> dict:
        return read_content(self.path)

    @cached_property
    def starting_state(self) -> Weights:
        """The starting weights in the file, not checked against a network: `init_weight` of a checkpoint, or a plain
        state_dict such as ``epoch_3_rewind_weight.pt``."""
        if self.content.get("init_weight", ...) is None:
            raise InputError(f"{self.path} was written before the rewinding point: it holds no starting weights yet")
        state = self.content.get("init_weight") or unwrapped(self.content)
        if "init_weight" not in self.content and ("result" in self.content or "settings" in self.content):
            raise InputError(f"{self.path} holds no starting weights (`init_weight`): give a checkpoint of a pruning "
                             "script")  # fmt: skip
        return split_state(self.tensors(state))[0]

    @property
    def recorded_start(self) -> Weights | None:
        """The weights that the file says its ticket starts from; None for a plain state_dict, which does not say."""
        return self.starting_state if self.content.get("init_weight") else None

    @cached_property
    def trained(self) -> tuple[Weights, Mask]:
        """The trained weights, and the mask, empty if the network is dense; of coefficients if there is a `basis`."""
        state = masked_content(self.content) if "state_dict" in self.content else unwrapped(self.content)
        weights, mask = split_ticket(self.tensors(state))
        if mask and self.basis is None:
            split_state(self.tensors(state))  # refuses a mask of coefficients in a basis that the file does not say
        return weights, mask

    @cached_property
    def basis(self) -> Basis | None:
        """The basis that its mask is one of; None for a mask of weights."""
        return basis_in(self.content)

    @property
    def step(self) -> int | None:
        """The optimiser step of the schedule after which the starting weights stand; None if the file does not say."""
        return self.content.get("init_step")

    @property
    def settings(self) -> dict:
        """The settings of the run that wrote the file; empty for the 2021 code."""
        return self.content.get("settings") or {}

    @property
    def origin(self) -> dict:
        """Where the ticket comes from: file, number of prunings and settings of its search, as far as known.

        An elastic ticket also has its `source`: the origin of the ticket that was transferred.
        """
        content = self.content
        found = {"file": str(self.path), "prunings": content.get("state"), "settings": content.get("settings")}
        return found | ({"source": content["source"]} if "source" in content else {})

    def tensors(self, state: object) -> Weights:
        """`state` without the extra state of modules; InputError unless it is a state_dict of dense tensors."""
        state = state if isinstance(state, dict) else {}
        state = {name: value for name, value in state.items() if not is_extra_state(name)}
        values = [value for value in state.values() if isinstance(value, Tensor)]
        if not all(map(is_plain, values)):
            raise InputError(f"{self.path} holds tensors that are sparse, quantized or without values: give dense ones")
        if MASKS in self.content and len(state) < 2:
            raise InputError(f"{self.path} holds masks and no weights: it can be --mask_dir alone")
        if not state or not all(isinstance(value, Tensor) for value in state.values()):
            raise InputError(f"{self.path} holds no weights: tensors by name are needed")
        return state

    # --- against a network --------------------------------------------------------------------------------------------

    def starting_weights(self, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)) -> tuple[Weights, list[str]]:
        """The weights that a ticket starts from, by the names of `model`, and notes about them.

        `spared` modules get the model's own weights; another input normalisation is noted.
        """
        return self.fitting(self.starting_state, model, spared)

    def trained_weights(
        self, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)
    ) -> tuple[Weights, Mask, list[str]]:
        """Trained weights, the mask they were trained under (empty if dense), and notes about them.

        `spared` modules get the model's own weights. InputError if the file's training has not begun.
        """
        content = self.content
        self.check_trained()
        weights, _ = self.trained
        found, notes = self.fitting(weights, model, spared)
        if trained_until(content) == UNFINISHED:
            notes.append(unfinished_note(self.path))
        return found, self.mask(model, spared), notes

    def check_trained(self) -> None:
        """InputError if the file's training has not begun."""
        if "state_dict" in self.content and self.content.get("history") == [] and not self.starts_trained:
            raise InputError(f"{self.path} holds no trained weights: the training it is for has not begun")

    def check_final(self) -> None:
        """InputError if the mask was still changing when the file was saved."""
        if not mask_is_final(self.content):
            stands = len(self.content.get("history") or [])
            raise InputError(
                f"the mask in {self.path} is not final: its training stands at epoch {stands} and would change it "
                "again; let it go on to its end"
            )

    @property
    def starts_trained(self) -> bool:
        """Whether its ticket starts from trained weights, so that they are there before its own training begins."""
        script = Script.named(self.settings.get("script"))
        return bool(script and script.holds_trained_weights) or self.settings.get("weights") == "trained"

    def fitting(self, state: Weights, model: nn.Module, spared: Sequence[str]) -> tuple[Weights, list[str]]:
        """`state` in the names and number formats of the model, with the model's own weights for `spared` modules, and
        notes on what was renamed, cast or normalised otherwise. InputError if it does not fit."""
        own = on_cpu(copy_weights(model))
        masks = set() if masks_itself(model) else {f"{name}_mask" for name in beside_weights(state)}
        state = {name: value for name, value in state.items() if name not in masks}
        names = names_in(model, state, spared)
        state = {names[name]: value for name, value in state.items()}
        self._check_fit(state, own, spared)
        normal = (name for name in own if owners(name, [NORMALIZATION]) and name in state)
        foreign = not all(_equal(state[name], own[name]) for name in normal)
        state, notes = cast(self.path, state, own)
        if broken := [name for name, value in state.items() if not _usable(value, own.get(name))]:
            raise InputError(f"{self.path} is no starting point: {broken[0]} holds values that are not finite")
        if foreign:
            notes.append(f"{self.path} was made with another input normalisation; this data set's own is used")
        found = {name: own[name] if owners(name, spared) else state[name] for name in own}
        return found, renamed(self.path, names) + notes

    def mask(self, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)) -> Mask:
        """The mask, without `spared` modules; empty if the network is dense. InputError if it does not fit."""
        if (given := self.given_masks(model)) is not None:
            return fitted_mask(self.path, given, model, spared)[0]
        weights, mask = self.trained
        names = names_in(model, weights, spared)
        self._check_fit({names[name]: value for name, value in weights.items()}, tensors(model), spared)
        mask = {names[name]: layer for name, layer in mask.items()}
        if strangers := mask.keys() - dict(model.named_parameters()).keys():
            raise InputError(f"{self.path} has a mask for {min(strangers)}, which is no parameter of this network")
        return {name: layer for name, layer in mask.items() if not owners(name, spared)}

    def basis_for(self, model: nn.Module, spared: Sequence[str] = (NORMALIZATION,)) -> Basis | None:
        """The basis by the names of `model`."""
        return self.basis and self.basis.renamed(names_in(model, self.trained[0], spared))

    def given_masks(self, model: nn.Module) -> Weights | None:
        """The masks in the file as they came, if they are people's own; None if it has none or is a checkpoint.

        A state_dict of some of the network's weights, which could be none of its weights, is one of masks as well.
        """
        if MASKS in self.content or "settings" in self.content or "init_weight" in self.content:
            return self.content.get(MASKS)
        state = self.tensors(unwrapped(self.content))
        if (beside := beside_weights(state)) and not masks_itself(model):
            return beside
        names, own = mask_names(model, state), tensors(model)
        weights = {name for name in own if not owners(name, [NORMALIZATION])}
        return state if set(names.values()) < weights and all(own[name].ndim > 1 for name in names.values()) else None

    def _check_fit(self, state: Weights, network: Weights, spared: Sequence[str]) -> None:
        """InputError, with the flags of the file's own data and network, unless `state` fits."""
        try:
            check_fit(self.path, state, network, spared)
        except InputError as error:
            flags = data_flags(self.path.parent, self.content), network_flags(self.content)
            made_with = " ".join(filter(None, flags))
            raise InputError(f"{error}. Its run had {made_with}" if made_with else str(error)) from None

    def mask_notes(self, model: nn.Module, spared: Sequence[str]) -> list[str]:
        """Notes on renamed tensors, and on what was made of masks of people's own."""
        if (given := self.given_masks(model)) is not None:
            return fitted_mask(self.path, given, model, spared)[1]
        return renamed(self.path, names_in(model, self.trained[0], spared))

    # --- against data -------------------------------------------------------------------------------------------------

    def check_data(self, data_checksum: str, split_checksum: str, validation: Tensor) -> list[str]:
        """InputError if its round trained on examples that validate here; a note if its data or split differ.

        A checkpoint of the 2021 code does not say what data it was made on: they are taken to be the same.
        """
        if self.settings.get("data checksum", data_checksum) != data_checksum:
            made = _in_brackets(data_flags(self.path.parent, self.content))
            return [f"{self.path} was found on other data{made}: another set, or files added, removed or changed since"]
        made_with = split_flags(self.path.parent, self.content)
        notes = []
        if self.settings.get("split checksum", split_checksum) != split_checksum:
            made = _in_brackets(made_with)
            notes.append(f"{self.path} was found with another split{made}: it may know examples that validate here")
        seen = int(np.isin(self.sequence, validation.cpu().numpy()).sum())
        if seen:
            raise InputError(
                f"{self.path} was found with {seen} examples that validate here: give "
                + (
                    f"{made_with}, as its run had"
                    if made_with
                    else "the --split_file and the --val_fraction of its run"
                )
            )
        return notes

    @property
    def sequence(self) -> np.ndarray:
        """The examples it was found with, int64 (n,); empty if the file does not say."""
        return read_sequence(self.content, self.path) if "sequence" in self.content else np.empty(0, dtype=np.int64)


def check_weight_mask(file: TicketFile, single: bool = False) -> None:
    """InputError for a mask of coefficients, where a form of tickets or a method knows masks of weights alone; with
    `single` for one of filters as well, with which biases and batch norm go."""
    if file.basis and (single or file.basis.transforms):
        what = "coefficients" if file.basis.transforms else "whole outputs"
        raise InputError(
            f"{file.path} has a mask of {what} ({file.basis.config.describe()}), a mask of single weights is needed "
            "here; docs/methods/bases.md says what reads it"
        )


def weight_mask(file: TicketFile) -> Mask:
    """Its mask as one of weights; where whole outputs were pruned, with those of the biases and batch norms that go
    with them. InputError for a mask of coefficients."""
    check_weight_mask(file)
    mask = file.trained[1]
    return mask | {
        name: outputs.clone() for name, outputs in (file.basis.output_masks(mask) if file.basis else {}).items()
    }


def masks_itself(model: nn.Module) -> bool:
    """Whether the network has tensors NAME_mask of its own."""
    return any(name.endswith("_mask") for name in tensors(model))


def _in_brackets(flags: str | None) -> str:
    return f" ({flags})" if flags else ""


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are close, in the number format of the first."""
    return a.shape == b.shape and torch.allclose(a, b.to(a.dtype))


def _usable(value: Tensor, own: Tensor | None) -> bool:
    """Whether all values are finite, apart from those that are not in the network's own either, such as -inf in an
    attention mask."""
    finite = value.isfinite()
    alike = own is not None and own.shape == value.shape
    return bool((finite | (value == own) if alike else finite).all())
