"""Masks that people make themselves: {name: tensor of 0 and 1} in a file of any kind, alone or beside weights.

A mask may be called as its weight is, or `NAME_mask`, and hold truth values, whole or real numbers. Which network it is
for, and what its names are there, is found out in lottery/tickets/given_masks.py.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lottery.checkpointing.checkpoint import masked_state
from pruner import Weights
from utils import InputError

MASKS = "masks"  # the key of the content of a checkpoint that has such masks as they came, by the names of weights
KEYS = ("mask", MASKS)  # where people keep them beside other things
ENDING = "_mask"


def with_masks(content: dict) -> dict:
    """The content of a file with its masks under MASKS; itself if it has none that can be told without a network.

    Masks are what is under one of KEYS, and all tensors of a file of masks alone: those called `NAME_mask`, those that
    are no real numbers, and those with none but zeros and ones.
    """
    key = next((key for key in KEYS if is_tensors(content.get(key))), None)
    if key is not None:
        others = {other: value for other, value in content.items() if other not in KEYS}
        others = {"state_dict": others} if is_tensors(others) else others
        return others | {MASKS: by_weights(content[key])}
    if "settings" in content or "init_weight" in content:  # a checkpoint
        return content
    state = content.get("state_dict", content)
    return {MASKS: by_weights(state)} if is_tensors(state) and are_masks(state) else content


def by_weights(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removesuffix(ENDING): layer for name, layer in masks.items()}


def are_masks(state: Mapping[str, Tensor]) -> bool:
    """Whether these tensors are masks and nothing else, whatever the network."""
    if all(name.endswith(ENDING) for name in state):
        return True
    return not any(map(is_real, state.values())) or all(map(is_binary, state.values()))


def is_real(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex() or value.is_quantized


def beside_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors `NAME_mask` beside NAME, where torch.nn.utils.prune would have `NAME_orig`, by the names of weights.

    They may as well be buffers of a network that masks its own weights.
    """
    return {name: state[f"{name}{ENDING}"] for name in state if f"{name}{ENDING}" in state}


def masked_content(content: dict) -> Weights:
    """The state_dict with the masks that it has under MASKS, as far as they are masks of its weights by its names."""
    state, masks = content["state_dict"], content.get(MASKS, {})
    fitting = {
        name: layer.bool()
        for name, layer in masks.items()
        if name in state and layer.shape == state[name].shape and is_binary(layer)
    }
    return masked_state(state, fitting) if fitting else state


def is_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, Tensor) for each in value.values())


def is_binary(layer: Tensor) -> bool:
    return is_plain(layer) and bool(((layer == 0) | (layer == 1)).all())


def is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_meta and not value.is_quantized


def dims(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def check_mask(path: Path, name: str, layer: object, weight: Tensor | None, network: str) -> None:
    """InputError unless `layer` is a mask for the weight of this name in a network."""
    if weight is None:
        raise InputError(f"{path} has a mask for {name}, which is no parameter of {network}")
    if isinstance(layer, Tensor) and not is_plain(layer):
        raise InputError(f"{path}: the mask of {name} is sparse, quantized or without values: give a dense one")
    if not isinstance(layer, Tensor) or layer.shape != weight.shape:
        shape = dims(layer.shape) if isinstance(layer, Tensor) else type(layer).__name__
        raise InputError(f"{path}: the mask of {name} is {shape}, its parameter {dims(weight.shape)}")
    if not is_binary(layer):
        wrong = layer[(layer != 0) & (layer != 1)][0].item()
        raise InputError(f"{path}: the mask of {name} holds {wrong:.4g}, where 0 and 1 are allowed")
