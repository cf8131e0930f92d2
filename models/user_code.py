"""Importing a user's own code, whose names are its own.

A user's `models`, `utils` or `dataset` may be called as modules of this suite are. While a user's code is imported, and
while its function is called, such a name means the user's module; before and after it means ours. A module whose name
is taken goes by another one from then on ("user0_models"), by which relative imports find it. The one thing that does
not work is code that imports such a name, in full, only while the network computes.
"""

import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent  # where the modules of this suite lie

Modules = dict[str, ModuleType]


class UserCode:
    """The modules of one place, a directory.

    Names are looked up here first, then wherever Python looks, then in `beside`, the directory of a file that lies in a
    package, and last in the directory of this suite. `own` is the name at the top level that means a module of this
    place, whatever has been imported under it elsewhere.
    """

    def __init__(self, folder: Path, beside: Path | None, own: str | None, number: int):
        self.folder, self.beside, self.own = folder, beside, own
        self.prefix = f"user{number}_"
        self.known = any(Path(entry).resolve() == folder for entry in sys.path)  # whether Python looks there by itself
        self.apart: Modules = {}  # of its modules, those whose names are taken

    @contextmanager
    def named(self) -> Iterator[None]:
        """While this lasts, names are those of this place."""
        path, finders = list(sys.path), list(sys.meta_path)
        entries = [str(self.folder), *path, *([str(self.beside)] if self.beside else [])]
        hidden = taken_out(self.is_foreign)
        fallback = Ours(hidden)
        sys.path[:] = [entry for entry in entries if Path(entry).resolve() != ROOT]
        sys.meta_path.append(fallback)
        sys.modules.update(self.apart)
        invalidate_caches()
        try:
            yield
        finally:
            ours = {*names_at(ROOT), *map(top, hidden)} - fallback.used
            self.apart = taken_out(lambda name, _: name in ours)
            sys.modules.update(hidden)
            self.rename_apart()
            sys.meta_path[:] = finders
            # What it imports when the network computes must be found, too, but must not shadow our modules.
            sys.path[:] = list(dict.fromkeys([*path, *entries, *sys.path]))

    def is_foreign(self, name: str, module: ModuleType) -> bool:
        """Whether a module is not to be found here: one of ours, one of another place where Python does not look by
        itself, or one that has the name of the file that is asked for."""
        if lies_in(module, self.folder):
            return self.folder == ROOT
        others = {code.folder for code in _PLACES.values() if code.own and not code.known}
        return name == self.own or any(lies_in(module, folder) for folder in (ROOT, *others))

    def rename_apart(self) -> None:
        """Give its modules whose names are taken names of their own, by which relative imports find them."""
        for name, module in self.apart.items():
            if module.__name__ == name and module.__spec__:
                module.__name__ = module.__spec__.name = f"{self.prefix}{name}"
                module.__package__ = module.__spec__.parent
            sys.modules[f"{self.prefix}{name}"] = module


_PLACES: dict[tuple, UserCode] = {}


def user_code(place: str) -> tuple[UserCode, str]:
    """Where "package.module" or "path/to/file.py" is looked for, and its name there."""
    if not is_path(place):
        return _place(Path.cwd(), None, None), place
    file = Path(place).expanduser().resolve()
    folder = next(parent for parent in file.parents if not (parent / "__init__.py").exists())
    parts = file.relative_to(folder).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)
    return _place(folder, file.parent if file.parent != folder else None, parts[0]), name


def _place(folder: Path, beside: Path | None, own: str | None) -> UserCode:
    """The same one whenever it is asked for, so that nothing is imported twice."""
    key = folder, beside, own
    if key not in _PLACES:
        _PLACES[key] = UserCode(*key, number=len(_PLACES))
    return _PLACES[key]


def is_path(place: str) -> bool:
    """Whether it is the path of a file, not the dotted name of a module."""
    return place.endswith(".py") or "/" in place or "\\" in place


class Ours:
    """The last finder asked while names are a user's: it knows the modules of this suite, those `hidden` as they are.

    `used` are the names at the top level that it found.
    """

    def __init__(self, hidden: Mapping[str, ModuleType]):
        tops = {name for name, module in hidden.items() if lies_in(module, ROOT)}
        self.hidden = {name: module for name, module in hidden.items() if top(name) in tops}
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
        """As ever."""

    def exec_module(self, module: ModuleType) -> None:
        """Put back what is hidden: Python takes what then stands under the name."""
        name = module.__name__
        sys.modules.update({each: found for each, found in self.hidden.items() if top(each) == name})


def top(name: str) -> str:
    """The part of a module's name at the top level."""
    return name.partition(".")[0]


def names_at(folder: Path) -> set[str]:
    """The names of modules and packages that lie there."""
    return {module.name for module in pkgutil.iter_modules([str(folder)])}


def lies_in(module: ModuleType | None, folder: Path) -> bool:
    """Whether a module at the top level lies in this very folder."""
    file = getattr(module, "__dict__", {}).get("__file__")  # to ask a lazy module would load it
    if not isinstance(file, str):
        return False
    place = Path(file)
    return (place.parent.parent if place.name == "__init__.py" else place.parent).resolve() == folder


def taken_out(chosen: Callable[[str, ModuleType], bool]) -> Modules:
    """Modules removed from sys.modules: those `chosen` at the top level, with all that is in them."""
    tops = {name for name, module in list(sys.modules.items()) if "." not in name and chosen(name, module)}
    return {name: sys.modules.pop(name) for name in list(sys.modules) if top(name) in tops - {"__main__"}}
