"""A ticket for plain PyTorch: weights and mask by the names of the user's own network, without a wrapper of ours."""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lottery.tickets.export import is_own_network, plain_names
from lottery.tickets.ticket_file import TicketFile, weight_mask
from models.units import NORMALIZATION
from pruner import Mask, Weights, apply_
from utils import InputError


class PlainTicket(NamedTuple):
    """A network and its mask. `weights` are zero where they are dropped; `mask` is empty if the network is dense.

    The network was trained on images in [0, 1], normalised to (images - mean) / std; grey ones were repeated to the
    channels of `mean` and `std`, (C, 1, 1).
    """

    weights: Weights
    mask: Mask
    mean: Tensor
    std: Tensor


def plain_ticket(path: str | PathLike, trained: bool = False) -> PlainTicket:
    """The ticket in a checkpoint of a network given as `--arch file.py:function`, for `load_state_dict` of what the
    function returns; the weights are those that the ticket starts from, or, with `trained`, those at the end.

    A tensor that the network has under several names is there once, under the first: `strict=False` lets them be.
    InputError if the file holds no such network, no weights of that kind, or a mask that was still changing.
    """
    file = TicketFile(Path(path))
    file.check_final()
    if trained:
        file.check_trained()
    mask, end = weight_mask(file), file.trained[0]
    state = {name: value.clone() for name, value in (end if trained else file.starting_state).items()}
    apply_(state, mask)
    if not is_own_network(state):
        raise InputError(
            f"{path} holds no network of your own, as of --arch path/to/file.py:function. Build one of this suite with "
            "models.build_model: its load_state_dict takes the file's init_weight as it is"
        )
    mean, std = (state[f"{NORMALIZATION}.{part}"].view(-1, 1, 1) for part in ("mean", "std"))
    return PlainTicket(plain_names(state), plain_names(mask), mean, std)
