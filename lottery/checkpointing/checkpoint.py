"""Checkpoints in the format of the 2021 PrAC-LTH code, so that either code loads the other's tickets.

A checkpoint is a dict. The keys shared with that code are `state` (the round), `epoch` (the next one), `state_dict`
(weights; a masked layer NAME is stored as NAME_orig and NAME_mask, float32; where the mask is one of coefficients in
another basis, whose record is under `basis`, as NAME_orig, the weights, and NAME_kept, which older and other readers
refuse to take for a mask of weights), `init_weight` (the rewinding weights,
plain keys), `result` (accuracies by epoch), `best_sa`, and `sequence` (the examples of this round). Every value is a
tensor or a plain value: files load with ``weights_only=True``, which runs no code from them. Files are written
atomically; their SHA-256 is verified before unpickling.
"""

import importlib
import pickle
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lottery import ranks
from lottery.bases.basis import Basis
from lottery.bases.config import KEPT
from lottery.checkpointing.atomic_file import DamagedFile, verify_checksum, write_atomically
from pruner import Mask, Weights
from utils import InputError, is_out_of_memory

FORMAT = 2  # of the keys that only this code reads; raised when older files can no longer be resumed

# --- files ------------------------------------------------------------------------------------------------------------


def write(path: Path, content: dict) -> None:
    """Save `content` atomically and with a checksum, on the first rank. RunError, with the old file untouched, if it
    cannot be written."""
    if ranks.is_first():
        write_atomically(path, partial(torch.save, on_cpu(content)), checksum=True)


def on_cpu(content):
    """`content` with every tensor on the CPU, so that a file from a GPU opens anywhere."""
    if isinstance(content, Tensor):
        return content.detach().cpu()
    if isinstance(content, dict):
        return {key: on_cpu(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(on_cpu(value) for value in content)
    return content


def read(path: Path) -> dict:
    """Read a checkpoint or state_dict, ours or the 2021 code's, onto the CPU; parameters become plain tensors.

    DamagedFile if the checksum does not match or the file does not load; InputError if it is no checkpoint.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    with file, torch.serialization.safe_globals(_numpy_globals()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's on pickles of other makers, which an error follows
        verify_checksum(file, path)
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged or foreign file raises many kinds
            if is_out_of_memory(error):
                raise
            if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
                raise InputError(
                    f"{path} is refused: it holds more than tensors and plain values; save the state_dict alone"
                ) from None
            raise DamagedFile(f"{path} is no checkpoint, or a damaged one") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} is no checkpoint: it holds a {type(content).__name__}, not tensors by name")
    return on_cpu(content)


def _numpy_globals() -> list:
    """The NumPy functions and types in the 2021 code's PrAC checkpoints, under their names in NumPy 1 and NumPy 2."""
    core = "numpy._core.multiarray" if int(np.__version__.partition(".")[0]) >= 2 else "numpy.core.multiarray"
    multiarray = importlib.import_module(core)
    functions = [
        _named(getattr(multiarray, name), module, name)
        for name in ("_reconstruct", "scalar")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    ]
    return [*functions, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in "?bhilqBHILQfd")]


def _named(function: Callable, module: str, name: str) -> Callable:
    """`function` under the name that a file calls it by; torch 2.5 compares these attributes alone."""

    def alias(*args):
        return function(*args)

    alias.__module__, alias.__name__, alias.__qualname__ = module, name, name
    return alias


def checkpoint_content(
    state_dict: Weights,
    settings: dict,
    *,
    round: int | None = None,
    history: Sequence[dict] = (),
    momentum: Sequence[Tensor] | None = None,
    **more: object,
) -> dict:
    """The content of a checkpoint: the keys that every one has, and `more` that its script reads back.

    `round` is None where there is only one network. `momentum` is None once a training is over.
    """
    return {
        "state": round,
        "state_dict": state_dict,
        "history": list(history),
        "momentum": momentum,
        "settings": settings,
        "format": FORMAT,
        **more,
    }


# --- weights and masks in one state_dict ------------------------------------------------------------------------------


def masked_state(weights: Weights, mask: Mask, ending: str = "_mask") -> Weights:
    """The state_dict as the 2021 code writes it: if any weight is dropped, a masked layer NAME is stored as NAME_orig
    and NAME_mask; with the `ending` KEPT if the mask is one of coefficients."""
    state: Weights = {}
    dense = all(bool(layer.all()) for layer in mask.values())
    for name, value in weights.items():
        if name in mask and not dense:
            state |= {f"{name}_orig": value, f"{name}{ending}": mask[name].float()}
        else:
            state[name] = value
    return state


def masked_in(state: Weights, mask: Mask, basis: Basis | None) -> Weights:
    """`masked_state` for a mask of weights, or, with a basis, of coefficients."""
    return masked_state(state, mask, KEPT if basis and basis.transforms else "_mask")


def split_ticket(state: Weights) -> tuple[Weights, Mask]:
    """The inverse of `masked_in`: weights with plain keys and the mask, empty if dense, of weights or of coefficients.

    Weights are zero where a mask of weights drops them; under a mask of coefficients they are as they are stored.
    """
    kept = _beside_orig(state, KEPT)
    if not kept:
        return split_state(state)
    _check_binary(state, kept)
    weights = {key: value for key, value in state.items() if key.removesuffix(KEPT) not in kept}
    weights = {key.removesuffix("_orig") if key.removesuffix("_orig") in kept else key: value
               for key, value in weights.items()}  # fmt: skip
    return weights, {name: value.bool() for name, value in kept.items()}


def split_state(state: Weights) -> tuple[Weights, Mask]:
    """The inverse of `masked_state`: weights with plain keys, zero where dropped, and the mask, empty if dense.

    InputError for a mask of coefficients, which is none of weights.
    """
    if kept := _beside_orig(state, KEPT):
        raise InputError(
            f"the mask of {next(iter(kept))} is one of coefficients in another basis (--basis), a mask of weights is "
            "needed here"
        )
    mask = _beside_orig(state, "_mask")
    _check_binary(state, mask)
    mask = {name: value.bool() for name, value in mask.items()}
    weights = {}
    for key, value in state.items():
        if (name := key.removesuffix("_orig")) in mask:
            weights[name] = value * mask[name].to(value.dtype)
        elif key.removesuffix("_mask") not in mask:
            weights[key] = value
    return weights, mask


def _beside_orig(state: Weights, ending: str) -> Weights:
    """The tensors NAME`ending` beside NAME_orig, by NAME: a network's own buffer may end in _mask."""
    names = [key.removesuffix("_orig") for key in state if key.endswith("_orig")]
    return {name: state[f"{name}{ending}"] for name in names if f"{name}{ending}" in state}


def _check_binary(state: Weights, mask: Weights) -> None:
    for name, value in mask.items():
        if value.shape != state[f"{name}_orig"].shape or not ((value == 0) | (value == 1)).all():
            raise InputError(f"the mask of {name} is none: it has another shape, or values other than 0 and 1")


# --- packed masks -----------------------------------------------------------------------------------------------------


def pack_mask(mask: Mask | None) -> dict | None:
    """The mask in one bit per weight, as plain data for a checkpoint."""
    if mask is None:
        return None
    return {
        name: {"shape": list(layer.shape), "bits": torch.from_numpy(np.packbits(layer.cpu().numpy()))}
        for name, layer in mask.items()
    }


def unpack_mask(packed: dict | None, device: torch.device) -> Mask | None:
    """The inverse of `pack_mask`."""
    if packed is None:
        return None
    mask = {}
    for name, layer in packed.items():
        shape = tuple(layer["shape"])
        bits = np.unpackbits(layer["bits"].numpy(), count=int(np.prod(shape)))
        mask[name] = torch.from_numpy(bits.reshape(shape).astype(bool)).to(device)
    return mask
