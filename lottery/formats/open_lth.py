"""`open_lth`: the directory of a level of open_lth's lottery experiments (github.com/facebookresearch/open_lth).

`level_K/main/` holds `mask.pth`, {name: int32 tensor of 0 and 1} for every convolution and linear layer, and networks
as state_dicts, `model_epE_itI.pth` after E epochs and I iterations. The input normalisation is in none of its files.

Of several networks the earliest is the start and the latest the trained one: a level saves its starting weights, at the
rewinding point, and its last step. A single network is a start that has not been trained.
"""

import json
import re
from functools import partial
from pathlib import Path

import torch

from lottery.checkpointing import checkpoint
from lottery.checkpointing.atomic_file import new_folder, write_atomically
from lottery.checkpointing.checkpoint import masked_state
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import TRAINED, ExportedTicket
from lottery.formats.masks import MASKS, check_mask, with_masks
from lottery.formats.open_lth_names import to_open_lth
from models.units import NORMALIZATION, owners
from pruner import Weights, count, size
from utils import InputError

NAME = "open_lth"
MASK, REPORT, BRANCH = "mask.pth", "sparsity_report.json", "main"
MODEL = re.compile(r"model_ep(\d+)_it(\d+)\.pth")
PIXELS = 784  # inputs of its fully connected networks: MNIST's

# --- reading ----------------------------------------------------------------------------------------------------------


def is_level(path: Path) -> bool:
    """Whether it is the directory of a level, or a branch of one, such as its main/."""
    return (path / MASK).is_file() or (path / BRANCH / MASK).is_file()


def read(path: Path) -> dict:
    """The content of a checkpoint; with a mask alone if there is no network. InputError if they do not go together."""
    folder = path if (path / MASK).is_file() else path / BRANCH
    mask = checkpoint.read(folder / MASK)
    models = saved_models(folder)
    if not models:
        return with_masks({MASKS: mask})
    first, last = min(models), max(models)
    start, end = (checkpoint.read(models[step]) for step in (first, last))
    for name, layer in mask.items():
        for model, weights in (models[first], start), (models[last], end):
            check_mask(folder / MASK, name, layer, weights.get(name), f"{model.name} beside it")
    content: dict = {"state_dict": masked_state(end, {name: layer.bool() for name, layer in mask.items()})}
    content |= {"init_weight": start, "init_step": None if first[0] else first[1]}
    return content | ({"history": []} if first == last else {})


def saved_models(folder: Path) -> dict[tuple[int, int], Path]:
    """The networks of a level by epoch and iteration."""
    matches = {path: MODEL.fullmatch(path.name) for path in folder.iterdir()}
    return {(int(found[1]), int(found[2])): path for path, found in matches.items() if found}


# --- writing ----------------------------------------------------------------------------------------------------------


def write(ticket: ExportedTicket, config: ConversionConfig) -> None:
    """InputError for a network that open_lth does not have, and for trained weights: a level begins with a start."""
    if ticket.facts.get("weights") == TRAINED:
        raise InputError("--to open_lth writes the start of a level: leave --trained out")
    state = {name: value for name, value in ticket.complete_weights.items() if not owners(name, [NORMALIZATION])}
    names = translated(state)
    mask = {names[name]: layer.int() for name, layer in whole_mask(ticket, state).items()}
    report = json.dumps({"total": float(size(mask)), "unpruned": float(count(mask))}, indent=4)
    with new_folder(config.output) as level:
        folder = level / BRANCH
        folder.mkdir()
        start = folder / f"model_ep0_it{ticket.facts['step'] or 0}.pth"
        _save({names[name]: value for name, value in state.items()}, start)
        _save(mask, folder / MASK)
        write_atomically(folder / REPORT, lambda file: file.write(report.encode()))


def _save(content: Weights, path: Path) -> None:
    write_atomically(path, partial(torch.save, content))


def translated(state: Weights) -> dict[str, str]:
    """The names of a network, each with open_lth's; InputError if it has no such network."""
    if (names := to_open_lth(state)) is None:
        raise InputError(
            f"open_lth has no network with a tensor {next(iter(state), 'by any name')} beside these others: it has "
            "lenet300, res20s_projection and the like, vgg16_bn and the like, and res18 to res50"
        )
    first = state.get("fc1.weight")
    if first is not None and first.shape[1] != PIXELS:
        raise InputError(f"fc1.weight has {first.shape[1]} inputs, those of open_lth's network are {PIXELS} pixels")
    stem = state.get("conv1.weight")
    if "layer4.0.conv1.weight" in state and stem is not None and stem.shape[-1] != 7:
        raise InputError("--stem cifar is no stem of open_lth's ResNets for ImageNet, whose first convolution is 7 x 7")
    return names


def whole_mask(ticket: ExportedTicket, state: Weights) -> Weights:
    """The mask with every convolution and linear layer, as open_lth needs it: ones where the ticket has none."""
    layers = {name: value for name, value in state.items() if value.ndim > 1 and name.endswith("weight")}
    return {name: ticket.mask.get(name, torch.ones_like(value, dtype=torch.bool)) for name, value in layers.items()}
