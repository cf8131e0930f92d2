"""Finding and calling a user's function, given as `package.module:function` or `path/to/file.py:function`.

Every failure is an InputError of one sentence.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from utils import InputError, did_you_mean, one_line

from .python_state import generators_kept
from .torch_settings import global_settings_kept
from .user_code import ROOT, is_in_folder, is_path, top_level_name, user_code


@contextmanager
def user_function(named: str) -> Iterator[Callable[..., Any]]:
    """The function of this name. Within, its code is active (`UserCode.active`); afterwards torch's settings are what
    they were. InputError if it cannot be imported."""
    place, _, name = named.rpartition(":")
    with global_settings_kept(), user_code(place)[0].active():
        with generators_kept():  # draws and seeds on import must not change what is drawn later
            module = import_user_module(place)
        function = getattr(module, name, None)
        if function is None:
            advice = wrong_module_hint(module) or did_you_mean(name, vars(module))
            raise InputError(f"module {place} has no function {name}{advice}")
        yield function


def call(named: str, function: Callable[..., Any], **arguments: object) -> Any:
    """What the user's function returns; InputError if it raises."""
    try:
        return function(**arguments)
    except (Exception, SystemExit) as error:
        words = ", ".join(f"{name}={value}" for name, value in arguments.items())
        raise InputError(f"{named}({words}) raised {one_line(error)}") from error


def import_user_module(place: str) -> ModuleType:
    """The module in a file, or the module of that name in the current directory or wherever Python looks.

    Call it while the user's code is active (`UserCode.active`).
    """
    code, name = user_code(place)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not is_path(place) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"no module {name} is installed or lies in {code.folder}") from error
        raise InputError(f"importing {place} raised {one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"importing {place} raised {one_line(error)}") from error


def wrong_module_hint(module: ModuleType) -> str:
    """Advice if the module found belongs to this suite, where a user's module was probably meant."""
    if not is_in_folder(sys.modules.get(top_level_name(module.__name__)), ROOT):
        return ""
    return f"; it was found in this suite, {ROOT}: give a file of your own as path/to/file.py:function"
