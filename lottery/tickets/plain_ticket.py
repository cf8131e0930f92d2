"""A ticket for plain PyTorch: weights and mask by the names of the user's own network, without a wrapper of ours."""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lottery.tickets.state_dict_formats import INNER
from lottery.tickets.ticket_file import TicketFile, weight_mask
from models.units import NORMALIZATION, owners
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
    InputError if the file holds no such network, or no weights of that kind.
    """
    file = TicketFile(Path(path))
    if trained:
        file.check_trained()
    mask, end = weight_mask(file), file.trained[0]
    state = {name: value.clone() for name, value in (end if trained else file.starting_state).items()}
    apply_(state, mask)
    mean, std = (state.pop(f"{NORMALIZATION}.{part}", None) for part in ("mean", "std"))
    if mean is None or std is None or not all(owners(name, [INNER]) for name in state):
        raise InputError(
            f"{path} holds no network of your own, as of --arch path/to/file.py:function. Build one of this suite with "
            "models.build_model: its load_state_dict takes the file's init_weight as it is"
        )
    weights, plain = ({_plain(name): value for name, value in part.items()} for part in (state, mask))
    return PlainTicket(weights, plain, mean.view(-1, 1, 1), std.view(-1, 1, 1))


def _plain(name: str) -> str:
    return name.removeprefix(f"{INNER}.")
