"""`sliced`: the network without the channels and neurons that pruning has silenced, smaller and dense.

A channel is left out if all that belongs to it is pruned and everything that reads it gets zeros, as `--block filter`
and main_channels.py leave it (lottery/channels/silent.py). What remains is an ordinary network of the
same layers, which computes what the masked one does; that is checked on random images. It holds no mask: weights that
were dropped singly are zeros in it, which training would bring back. `lottery.channels.slicing.load_sliced` reads it.
"""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from lottery.channels.groups import find_all_groups
from lottery.channels.silent import emitting_channels
from lottery.channels.slicing import KeptChannels, check_equivalent, network_arguments, save_sliced, slice_network
from lottery.formats.config import ConversionConfig
from lottery.formats.exported_ticket import ExportedTicket, suite_names
from lottery.formats.network import network, random_images
from lottery.training.config import ModelConfig
from lottery.training.flops import forward_flops
from utils import InputError, RunError, one_line

NAME = "sliced"
IMAGES = 8  # that the sliced and the masked network are compared on


class Sliced(NamedTuple):
    network: nn.Module
    kept: KeptChannels  # of the groups that lose any


def write(ticket: ExportedTicket, config: ConversionConfig) -> list[str]:
    """Returns a line on what is left out. InputError if that is nothing, or for a network that cannot be followed."""
    model, images = network(ticket, config), random_images(ticket, config, IMAGES)
    small = sliced(model, ticket, images, config.ticket)
    built = ModelConfig(arch=ticket.facts["arch"], stem=ticket.facts.get("stem", "imagenet"))
    more = {"metadata": ticket.metadata(NAME), "settings": ticket.settings}
    save_sliced(config.output, small.network, small.kept, network_arguments(model, built, images), more)
    return [difference_line(model, small, images)]


def sliced(model: nn.Module, ticket: ExportedTicket, images: Tensor, path: Path) -> Sliced:
    """The network of the ticket, which is in the file `path`, without what emits nothing."""
    groups, mask = find_all_groups(model), suite_names(ticket.mask, ticket.facts)
    kept = emitting_channels(model, groups.values(), mask, images)
    losing = {name: channels for name, channels in kept.items() if not channels.all()}
    if not losing:
        raise InputError(
            f"{path} has no channel or neuron that can be left out: one that is pruned as a whole, emits nothing and "
            "can be followed to the layers that read it; --block filter and main_channels.py make such tickets"
        )
    small = slice_network(model, [groups[name] for name in losing], losing)
    try:
        check_equivalent(model, small, images)
    except RunError:
        raise
    except RuntimeError as error:  # of torch, for shapes that do not fit
        reason = f"its network does not run with fewer channels ({one_line(error)})"
        raise InputError(f"{path} cannot be sliced: {reason}") from None
    return Sliced(small.eval(), losing)


def difference_line(model: nn.Module, small: Sliced, images: Tensor) -> str:
    """Channels, parameters and FLOPs of an image before and after."""
    left_out = sum(int((~channels).sum()) for channels in small.kept.values())
    parameters = [sum(each.numel() for each in network.parameters()) for network in (small.network, model)]
    flops = [sum(forward_flops(network, images[:1]).values()) for network in (small.network, model)]
    return (
        f"{left_out} channels and neurons are left out: {parameters[0]:,} of {parameters[1]:,} parameters, "
        f"{100 * flops[0] / flops[1]:.1f} % of the FLOPs."
    )
