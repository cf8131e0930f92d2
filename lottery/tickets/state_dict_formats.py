"""Convert a state_dict from another tool to the names and number formats of a network.

Other tools keep the same tensors under other names: behind ``module.`` (DataParallel), ``_orig_mod.`` (torch.compile)
or ``model.`` (a wrapper of one's own), and a user's network without ``network.``, behind which `models.custom` has it.
open_lth has names of its own for the same networks.
Other names are taken for the network's only where all of them then fit.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from lottery.formats.masks import dims
from lottery.formats.open_lth_names import from_open_lth
from models.network_state import first_names
from models.units import owners
from pruner import Weights
from utils import InputError

INNER = "network"  # where `models.custom.UserNetwork` has a user's network
COMPILED = "_orig_mod."  # of torch.compile, also within a name
WRAPPERS = ("module.", "model.")  # at the beginning of every name
WRAPPED = ("state_dict", "model", "model_state_dict", "net")  # where the files of other tools have a state_dict


def unwrapped(content: Mapping) -> Mapping:
    """The state_dict in a file's content, which may be all of it."""
    return next((content[key] for key in WRAPPED if isinstance(content.get(key), dict)), content)


def renaming(names: Collection[str], fits: Callable[[set[str]], bool]) -> dict[str, str]:
    """The names, each with what it is in a network that it `fits`; each with itself where no way of reading them does.

    >>> renaming(["module.fc.bias"], lambda names: names == {"fc.bias"})
    {'module.fc.bias': 'fc.bias'}
    """
    readings = (found for found in _readings(list(names)) if len(set(found)) == len(found))
    return dict(zip(names, next(filter(lambda found: fits(set(found)), readings), names), strict=True))


def nearest_names(names: Collection[str], model: nn.Module) -> dict[str, str]:
    """The names of a file, each with what it is in the reading that has the most names of this network: those that do
    not fit can then be named."""
    own = first_names(model).keys()
    readings = (found for found in _readings(list(names)) if len(set(found)) == len(found))
    return dict(zip(names, max(readings, key=lambda found: len(own & set(found)), default=names), strict=True))


def _readings(names: list[str]) -> Iterator[list[str]]:
    """What the names may stand for: themselves first, then without one wrapper after the other."""
    for left in names, [name.replace(COMPILED, "") for name in names]:
        wrapper: str | None = ""
        while wrapper is not None:
            left = [name.removeprefix(wrapper) for name in left]
            yield left
            yield [f"{INNER}.{name}" for name in left]
            if translated := from_open_lth(left):
                yield [translated[name] for name in left]
            wrapper = next((each for each in WRAPPERS if left and all(name.startswith(each) for name in left)), None)


def names_in(model: nn.Module, names: Collection[str], spared: Collection[str]) -> dict[str, str]:
    """The names of a file, each with what it is in this network, whose `spared` modules need not be in the file.

    Where the network has a tensor under several names, a file may have some or all of them: each is read as the first.
    """
    firsts = first_names(model)

    def fits(found: set[str]) -> bool:
        return _without({firsts.get(name, name) for name in found}, spared) == _without(firsts.values(), spared)

    return {name: firsts.get(here, here) for name, here in renaming(names, fits).items()}


def _without(names: Collection[str], spared: Collection[str]) -> set[str]:
    return {name for name in names if not owners(name, spared)}


def renamed(path: Path, names: Mapping[str, str]) -> list[str]:
    """A note if the file's names differ from the network's."""
    found = next(((there, here) for there, here in names.items() if there != here and here not in names), None)
    return [f"{path} has {found[0]} for {found[1]}, and so on: it is read as this network's"] if found else []


def cast(path: Path, state: Weights, network: Weights) -> tuple[Weights, list[str]]:
    """The state in the network's number formats, and a note if it had others. InputError for complex numbers."""
    other = [name for name, value in state.items() if name in network and value.dtype != network[name].dtype]
    if strange := [name for name in other if state[name].is_complex()]:
        raise InputError(f"{path} holds {_word(state[strange[0]])} numbers in {strange[0]}: real ones are needed")
    if not other:
        return state, []
    found = {name: value.to(network[name].dtype) if name in network else value for name, value in state.items()}
    kinds = dict.fromkeys(f"{_word(state[name])} to {_word(network[name])}" for name in other)
    return found, [f"{path} holds numbers of another format than the network's, cast from {' and from '.join(kinds)}"]


def _word(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def check_fit(path: Path, state: Weights, network: Weights, spared: Collection[str]) -> None:
    """InputError unless `state` has the network's names and shapes, `spared` modules aside."""
    there, here = _without(state, spared), _without(network, spared)
    if there != here:
        parts = [f"this network expects {_first(here - there)}, the file has no such tensor"] if here - there else []
        parts += [f"the file has {_first(there - here)}, this network has no such tensor"] if there - here else []
        raise InputError(f"{path} belongs to another network: {'; '.join(parts)}")
    for name in filter(here.__contains__, network):
        if state[name].shape != network[name].shape:
            raise InputError(
                f"{path} belongs to another network: {name} is {dims(state[name].shape)} there, "
                f"{dims(network[name].shape)} here; do the architecture, its stem and the number of classes fit? "
                "(--new_classifier for other classes)"
            )


def _first(names: Collection[str]) -> str:
    """The first of these names, and how many there are beside it."""
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"{min(names)}{more}"
