"""Transfer a ticket to another network, checked against that network; and once more, to verify one that was written."""

from lottery.checkpointing.checkpoint import masked_state, split_state
from lottery.elastic.config import ElasticConfig
from lottery.elastic.mapping import UnitMapping, origins, parse_mapping, stretch
from lottery.elastic.networks import Member, network_family
from lottery.tickets.load import LoadedTicket, TicketFiles
from lottery.tickets.starting_weights import same_start
from lottery.tickets.state_dict_formats import dims
from lottery.tickets.ticket_file import check_weight_mask
from models.description import Description
from models.network_state import tensors
from pruner import Ticket, Weights, same
from utils import InputError


def load_source(config: ElasticConfig, files: TicketFiles, source: Member) -> LoadedTicket:
    """The ticket in `files`; InputError if they are not of the source network, or have no mask."""
    for file in files.all_files:
        check_weight_mask(file, single=True)
    loaded = files.load(source.network)
    if not loaded.ticket.mask:
        raise InputError(f"--mask_dir {config.mask_dir} holds no mask: the dense network is no ticket to transfer")
    return loaded


def transfer(config: ElasticConfig, ticket: Ticket, source: Member, target: Member, mapping: UnitMapping) -> Ticket:
    """The target's ticket; InputError if it does not fit the target, masks nothing, or is the source's ticket."""
    found, arch = stretch(ticket, source.family, target.family, mapping), config.mapping.target_arch
    copied_from = origins(ticket.weights, source.family, target.family, mapping)
    check_shapes(found.weights, copied_from, tensors(target.network))
    if not found.mask:
        raise InputError(f"--mask_dir {config.mask_dir} masks only units that have no copy in {arch}")
    if same_ticket(found, ticket):
        raise InputError(
            f"--target_arch {arch}: what this mapping makes of the ticket is the ticket itself; another depth, or "
            "another --block_mapping, would transfer it"
        )
    return found


def check_shapes(weights: Weights, copied_from: dict[str, str], own: Weights) -> None:
    """InputError unless the transferred weights, each a copy of the one that `copied_from` names, have the names and
    shapes of the target's own."""
    if strangers := [name for name in weights if name not in own]:
        raise InputError(f"{copied_from[strangers[0]]} would become {strangers[0]}, which the target does not have")
    if missing := [name for name in own if name not in weights]:
        raise InputError(f"{missing[0]} of the target has no source: the unit mapped to it has no such part")
    for name, value in own.items():
        if weights[name].shape != value.shape:
            here, there = (dims(tensor.shape) for tensor in (value, weights[name]))
            raise InputError(f"{name} of the target is {here} and cannot be a copy of {copied_from[name]}, {there}")


def same_ticket(a: Ticket, b: Ticket) -> bool:
    """Whether two tickets have the same tensors under the same names."""
    alike = a.weights.keys() == b.weights.keys() and same_start(a.weights, b.weights, a.mask)
    return alike and same(a.mask, b.mask)


def transfer_again(content: dict, source: Ticket) -> Ticket:
    """The ticket that `source` becomes by the mapping in an elastic ticket's file, in the form that the file keeps.

    Units are found by the names in the two tickets alone: no network is built, and no code that the file names is run.
    InputError where the file describes no mapping between the two.
    """
    settings, described = content["settings"], content.get("family")
    description = Description("its family", described) if described else None
    there = network_family(description, settings["source_arch"], source.weights)
    here = network_family(description, settings["arch"], content["init_weight"])
    ticket = stretch(source, there, here, parse_mapping(settings["block_mapping"], there, here))
    return ticket._replace(mask=split_state(masked_state(ticket.weights, ticket.mask))[1])
