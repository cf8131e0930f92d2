"""Importing a user's code whose modules may have the same names as modules of this suite.

While a user's code is imported, and while its function is called, a name such as `models`, `utils` or `dataset` means
the user's module; before and after, the suite's. A user's module with a conflicting name is then renamed
("user0_models"), and relative imports find it under that name. The one thing that does not work is an absolute import
of such a name while the network computes.
"""

import pkgutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import invalidate_caches
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

from utils import InputError, did_you_mean, expand_home, path_exists

ROOT = Path(__file__).resolve().parent.parent  # the directory of this suite

Modules = dict[str, ModuleType]


class UserCode:
    """The modules of one directory.

    While it is `active`, names are looked up in this folder first, then wherever Python looks, then in `beside` (the
    directory of a file that lies in a package), and last in this suite. `own` is the top-level name that means a module
    of this folder even if another module has been imported under it.
    """

    def __init__(self, folder: Path, beside: Path | None, own: str | None, number: int):
        self.folder, self.beside, self.own = folder, beside, own
        self.prefix = f"user{number}_"
        self.known = any(Path(entry).resolve() == folder for entry in sys.path)  # whether it is on sys.path anyway
        self.conflicting: Modules = {}  # its modules whose names the suite has, too

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within, module names mean those of this folder."""
        path, finders = list(sys.path), list(sys.meta_path)
        entries = [str(self.folder), *path, *([str(self.beside)] if self.beside else [])]
        hidden = pop_modules(self.is_foreign)
        fallback = SuiteFinder(hidden)
        sys.path[:] = [entry for entry in entries if Path(entry).resolve() != ROOT]
        sys.meta_path.append(fallback)
        sys.modules.update(self.conflicting)
        invalidate_caches()
        try:
            yield
        finally:
            ours = {*module_names(ROOT), *map(top_level_name, hidden)} - fallback.used
            self.conflicting = pop_modules(lambda name, _: name in ours)
            sys.modules.update(hidden)
            self.rename_conflicting()
            sys.meta_path[:] = finders
            # What the network imports while it computes must be found, but must not shadow modules of this suite.
            sys.path[:] = list(dict.fromkeys([*path, *entries, *sys.path]))

    def is_foreign(self, name: str, module: ModuleType) -> bool:
        """Whether a loaded module must be hidden while this folder is active: one of this suite, one of another user
        folder that is not on sys.path, or one with the name of the requested file."""
        if is_in_folder(module, self.folder):
            return self.folder == ROOT
        others = {code.folder for code in _PLACES.values() if code.own and not code.known}
        return name == self.own or any(is_in_folder(module, folder) for folder in (ROOT, *others))

    def rename_conflicting(self) -> None:
        """Rename its modules with conflicting names; relative imports find them under the new ones."""
        for name, module in self.conflicting.items():
            if module.__name__ == name and module.__spec__:
                module.__name__ = module.__spec__.name = f"{self.prefix}{name}"
                module.__package__ = module.__spec__.parent
            sys.modules[f"{self.prefix}{name}"] = module


_PLACES: dict[tuple, UserCode] = {}


def user_code(place: str) -> tuple[UserCode, str]:
    """The folder of "package.module" or "path/to/file.py", and the module's name there."""
    if not is_path(place):
        return _place(Path.cwd(), None, None), place
    file = expand_home(place).resolve()
    folder = next(parent for parent in file.parents if not (parent / "__init__.py").exists())
    parts = file.relative_to(folder).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)
    return _place(folder, file.parent if file.parent != folder else None, parts[0]), name


def _place(folder: Path, beside: Path | None, own: str | None) -> UserCode:
    """One object per place, so that nothing is imported twice."""
    key = folder, beside, own
    if key not in _PLACES:
        _PLACES[key] = UserCode(*key, number=len(_PLACES))
    return _PLACES[key]


def is_path(place: str) -> bool:
    """Whether `place` is the path of a file rather than a dotted module name."""
    return place.endswith(".py") or "/" in place or "\\" in place


# --- the name of a user's function ------------------------------------------------------------------------------------


def check_function(named: str, flag: str, known: Collection[str], what: str) -> None:
    """InputError unless `named` has the form `package.module:function`, or `path/to/file.py:function` of a file that is
    there. `flag` is what was given it, for `what` of the user's own; the names `known` were possible, too.

    Only `user_function.user_function`, which imports the module, finds out whether the function exists.
    """
    place, _, function = named.rpartition(":")
    if named.endswith(".py"):
        raise InputError(f"{flag} {named} is a file without the name of a function in it: give {named}:function")
    names = [function] if is_path(place) else [*place.split("."), function]
    if not all(name.isidentifier() for name in names):
        usual = named.lower().replace("resnet", "res")  # networks that others call resnet18 are res18 here
        raise InputError(
            f"{flag} must be one of {', '.join(known)}, or for {what} of your own package.module:function or "
            f"path/to/file.py:function, got {named!r}{did_you_mean(usual, known)}"
        )
    file = expand_home(place)
    if is_path(place) and not (place.endswith(".py") and path_exists(flag, file) and file.is_file()):
        raise InputError(f"{flag} {named}: there is no Python file {place}")


def short_name(named: str) -> str:
    """The name of a user's function without the folder of its file; any other name as it is.

    >>> short_name("projects/birds/my_data.py:photos")
    'my_data.py:photos'
    """
    place, _, function = named.rpartition(":")
    return f"{Path(place).name}:{function}" if is_path(place) else named


class SuiteFinder(Loader):
    """The last finder on sys.meta_path while user code is active: it finds the modules of this suite.

    Those in `hidden` are returned as they were loaded. `used` collects the top-level names it has found.
    """

    def __init__(self, hidden: Mapping[str, ModuleType]):
        tops = {name for name, module in hidden.items() if is_in_folder(module, ROOT)}
        self.hidden = {name: module for name, module in hidden.items() if top_level_name(name) in tops}
        self.used: set[str] = set()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if path is None and name in self.hidden:
            self.used.add(name)
            return spec_from_loader(name, self)
        if path is None and (found := PathFinder.find_spec(name, [str(ROOT)])):
            self.used.add(name)
            return found
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python create the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Restore the hidden modules in sys.modules, from which Python then takes this one."""
        name = module.__name__
        sys.modules.update({each: found for each, found in self.hidden.items() if top_level_name(each) == name})


def top_level_name(name: str) -> str:
    """The first part of a dotted module name."""
    return name.partition(".")[0]


def module_names(folder: Path) -> set[str]:
    """The names of the modules and packages in a folder."""
    return {module.name for module in pkgutil.iter_modules([str(folder)])}


def is_in_folder(module: ModuleType | None, folder: Path) -> bool:
    """Whether a top-level module lies directly in this folder."""
    file = getattr(module, "__dict__", {}).get("__file__")  # getattr would load a lazy module
    if not isinstance(file, str):
        return False
    place = Path(file)
    return (place.parent.parent if place.name == "__init__.py" else place.parent).resolve() == folder


def pop_modules(chosen: Callable[[str, ModuleType], bool]) -> Modules:
    """Remove the `chosen` top-level modules and their submodules from sys.modules, and return them."""
    tops = {name for name, module in list(sys.modules.items()) if "." not in name and chosen(name, module)}
    return {name: sys.modules.pop(name) for name in list(sys.modules) if top_level_name(name) in tops - {"__main__"}}
