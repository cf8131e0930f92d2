"""A data set from a user's function, `package.module:function` or `path/to/file.py:function`.

The function returns four arrays as `source_from_arrays` takes them, two data sets as `source_from_datasets` does, or a
`Source` that one of these has made. It is called once in each run.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lottery.readers.arrays import source_from_arrays
from lottery.readers.source import Source
from lottery.readers.torch_datasets import source_from_datasets
from models.python_state import generators_kept
from models.user_code import short_name
from models.user_function import call, user_function
from utils import InputError, seed_generators

SEED = 0  # of what the function draws: runs of every --seed must have the same data


def read_user_source(named: str, data: Path | None) -> Source:
    """What the function returns, called with `data=` the path of --data if that is given, and under a fixed seed.

    InputError if it fails, if it does not take `data` that is given, or if what it returns is no data set.
    """
    with user_function(named) as function, generators_kept():
        seed_generators(SEED)
        found = call(named, function, **_arguments(named, function, data))
        try:
            source = _source(found)
        except InputError as error:
            raise InputError(f"--dataset {named}: {error}") from error
    return replace(source, name=short_name(named))


def _arguments(named: str, function: Callable, data: Path | None) -> dict[str, Path]:
    try:
        parameter = inspect.signature(function).parameters.get("data")
    except (TypeError, ValueError):  # no function, or one that is not written in Python
        parameter = None
    if data is not None and parameter is None:
        raise InputError(f"--data {data} has no effect: {named} has no parameter `data`; leave it out")
    if data is None and parameter is not None and parameter.default is inspect.Parameter.empty:
        raise InputError(f"{named} needs its parameter `data`: give --data, the path that it reads")
    return {} if data is None else {"data": data}


def _source(found: Any) -> Source:
    if isinstance(found, Source):
        return found
    if isinstance(found, tuple | list) and len(found) == 4:
        return source_from_arrays(*found)
    if isinstance(found, tuple | list) and len(found) == 2:
        return source_from_datasets(*found)
    got = f"{type(found).__name__} of {len(found)}" if isinstance(found, tuple | list) else type(found).__name__
    raise InputError(
        "the function must return four arrays (training images, training labels, test images, test labels), two data "
        f"sets (training, test) of pairs (image, label), or a Source, got {got}"
    )
