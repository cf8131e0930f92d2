"""Pre-trained weights (--weights): a state_dict that a network starts from instead of weights drawn from its seed.

They take the place of drawn weights in everything that follows: rewinding to the start of training means rewinding to
them, and a mask given beside them is trained on them. The classifier starts from drawn weights where the file has none,
or one for another number of classes.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from lottery.tickets.state_dict_formats import nearest_names, renamed
from lottery.tickets.ticket_file import TicketFile
from lottery.training.step import load_weights_
from models.network_state import tensors
from models.units import NORMALIZATION, owners
from pruner import Weights, classifiers
from utils import digest, listed

# torchvision's files of GoogLeNet and Inception v3 have these heads, which only help training; networks here do not.
AUXILIARY_HEADS = ("aux1", "aux2", "AuxLogits")


def load_pretrained_(path: Path, model: nn.Module, new_classifier: bool = False) -> tuple[str, list[str]]:
    """Load the file's weights into the network; returns a checksum of what was loaded, and notes.

    The classifier keeps its drawn weights if asked for by `new_classifier`, or if the file's has another shape or is
    not there. InputError for a file that is no state_dict or does not fit otherwise: the first tensor that is missing,
    unknown or of another shape is named.
    """
    file = TicketFile(path)
    file.check_trained()
    state, mask = file.trained
    names = nearest_names(state, model)
    state, left_out = without_auxiliary_heads({names[name]: value for name, value in state.items()}, model)
    drawn = drawn_modules(state, model, new_classifier)
    weights, notes = file.fitting(state, model, (NORMALIZATION, *drawn))
    load_weights_(model, weights)
    given = (
        value.cpu().numpy() for name, value in sorted(weights.items()) if not owners(name, (NORMALIZATION, *drawn))
    )
    notes = [f"the network starts from the weights of {path}", *renamed(path, names), *left_out, *notes]
    if drawn:
        notes.append(
            f"{listed(drawn)}, the classifier, starts from weights drawn with --seed, not from those of {path}"
        )
    if mask:
        notes.append(f"{path} also has a mask, which --weights does not use: give it as --mask_dir to train under it")
    return digest(*given), notes


def drawn_modules(state: Weights, model: nn.Module, new_classifier: bool) -> Sequence[str]:
    """The classifier's layers, if they are not to have the weights of the file; empty if they are."""
    layers, own = classifiers(model), tensors(model)
    alike = all(
        name in state and state[name].shape == value.shape for name, value in own.items() if owners(name, layers)
    )
    return () if alike and not new_classifier else layers


def without_auxiliary_heads(state: Weights, model: nn.Module) -> tuple[Weights, list[str]]:
    """The state without heads that the network does not have, and a note if there are any."""
    here = {part for name in tensors(model) for part in name.split(".")}
    heads = [head for head in AUXILIARY_HEADS if head not in here]
    kept = {name: value for name, value in state.items() if not any(head in name.split(".") for head in heads)}
    note = "the file's auxiliary heads, which this network does not have, are left out"
    return kept, [note] if len(kept) < len(state) else []
