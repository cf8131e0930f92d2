"""Files: written whole or not at all, in the format of the 2021 PrAC-LTH code, so that tickets travel both ways.

A checkpoint is a dict. Of the keys that code knows, ours has `state` (the round), `epoch` (the next one), `state_dict`
(weights; a masked layer NAME is kept as NAME_orig and NAME_mask, float32), `init_weight` (the rewound weights, plain
keys), `result` (accuracies by epoch), `best_sa`, and `sequence` (the examples of this round). Everything is a tensor or
a plain value: files load with ``weights_only=True``, which runs no code from them.
"""

import importlib
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lottery.checkpointing.atomic_file import DamagedFile, check_seal, write_whole
from pruner import Mask, Weights
from utils import InputError

FORMAT = 2  # of the keys that only we read; raised when an old file can no longer be continued

# --- files ------------------------------------------------------------------------------------------------------------


def write(path: Path, content: dict) -> None:
    """Save `content`, whole and with a checksum; RunError, with the old file as it was, where that cannot be done."""
    write_whole(path, partial(torch.save, on_cpu(content)), seal=True)


def on_cpu(content):
    """The same with every tensor on the CPU, so that a file from a GPU opens anywhere."""
    if isinstance(content, Tensor):
        return content.detach().cpu()
    if isinstance(content, dict):
        return {key: on_cpu(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(on_cpu(value) for value in content)
    return content


def read(path: Path) -> dict:
    """A checkpoint or state_dict, ours or the reference's, on the CPU; plain tensors, also for what was saved as
    parameters.

    DamagedFile if it is not as it was written, which a checksum tells before anything is unpickled; InputError if it
    is something else.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    with file, torch.serialization.safe_globals(_numpy_globals()):
        check_seal(file, path)
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a file that is none, or damaged, raises many kinds
            if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
                raise InputError(
                    f"{path} is refused: it holds more than tensors and plain values; save the state_dict alone"
                ) from None
            raise DamagedFile(f"{path} is no checkpoint, or a damaged one") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} is no checkpoint: it holds a {type(content).__name__}, not tensors by name")
    return on_cpu(content)


def _numpy_globals() -> list:
    """What the reference's PrAC checkpoints need beside tensors, by the names of NumPy 1 and of NumPy 2."""
    core = "numpy._core.multiarray" if int(np.__version__.partition(".")[0]) >= 2 else "numpy.core.multiarray"
    multiarray = importlib.import_module(core)
    functions = [
        _named(getattr(multiarray, name), module, name)
        for name in ("_reconstruct", "scalar")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    ]
    return [*functions, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in "?bhilqBHILQfd")]


def _named(function: Callable, module: str, name: str) -> Callable:
    """`function` under a name that a file may call it by; torch 2.5 goes by the attributes alone."""

    def alias(*args):
        return function(*args)

    alias.__module__, alias.__name__, alias.__qualname__ = module, name, name
    return alias


# --- weights and masks in one state_dict ------------------------------------------------------------------------------


def masked_state(weights: Weights, mask: Mask) -> Weights:
    """A state_dict as the reference writes it: a layer that lost weights as NAME_orig and NAME_mask."""
    state = {}
    dense = all(bool(layer.all()) for layer in mask.values())
    for name, value in weights.items():
        if name in mask and not dense:
            state |= {f"{name}_orig": value, f"{name}_mask": mask[name].float()}
        else:
            state[name] = value
    return state


def split_state(state: Weights) -> tuple[Weights, Mask]:
    """The inverse: weights with plain keys, zero where dropped, and the mask (empty for a dense network)."""
    # A network's own buffer may end in _mask: only beside NAME_orig is it one of ours.
    names = [key.removesuffix("_orig") for key in state if key.endswith("_orig")]
    mask = {name: state[f"{name}_mask"] for name in names if f"{name}_mask" in state}
    for name, value in mask.items():
        if value.shape != state[f"{name}_orig"].shape or not ((value == 0) | (value == 1)).all():
            raise InputError(f"the mask of {name} is none: it has another shape, or values other than 0 and 1")
    mask = {name: value.bool() for name, value in mask.items()}
    weights = {}
    for key, value in state.items():
        if (name := key.removesuffix("_orig")) in mask:
            weights[name] = value * mask[name].to(value.dtype)
        elif key.removesuffix("_mask") not in mask:
            weights[key] = value
    return weights, mask


# --- masks in few bytes -----------------------------------------------------------------------------------------------


def pack(mask: Mask | None) -> dict | None:
    """A mask as one bit a weight."""
    if mask is None:
        return None
    return {
        name: {"shape": list(layer.shape), "bits": torch.from_numpy(np.packbits(layer.cpu().numpy()))}
        for name, layer in mask.items()
    }


def unpack(packed: dict | None, device: torch.device) -> Mask | None:
    """The inverse of `pack`."""
    if packed is None:
        return None
    mask = {}
    for name, layer in packed.items():
        shape = tuple(layer["shape"])
        bits = np.unpackbits(layer["bits"].numpy(), count=int(np.prod(shape)))
        mask[name] = torch.from_numpy(bits.reshape(shape).astype(bool)).to(device)
    return mask
