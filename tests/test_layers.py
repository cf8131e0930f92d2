"""The architecture as tests: what may import what, and how large files and functions may grow.

Imports are read from the syntax trees, so those within functions and under TYPE_CHECKING count as well. Each rule is
a function from a tree to its offenders, one sentence each; the tests at the end break every rule in a made-up tree.
"""

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from tests.helpers import ROOT

# A module may import from its own layer and from those above it in this list. Top-level modules that are not named
# are scripts, the last layer.
LAYERS = [
    ["utils", "lottery", "lottery.ranks", "lottery.terminal"],  # "lottery" is lottery/__init__.py alone
    ["pruner", "dataset", "models", "lottery.patterns", "lottery.bases"],
    ["lottery.checkpointing"],
    ["lottery.readers"],
    ["lottery.training"],
    ["lottery.channels"],
    ["lottery.formats"],
    ["lottery.tickets"],
    [
        "lottery.search",
        "lottery.retraining",
        "lottery.sparse_training",
        "lottery.pruning_at_init",
        "lottery.elastic",
        "lottery.greedy",
    ],
    ["lottery.results"],
    ["lottery.analysis"],
    ["lottery.reports"],
    ["lottery.cli"],
    ["lottery.study"],
]
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
SCRIPT = len(LAYERS)
METHODS = LAYERS[8]  # may not import one another
TORCHLESS = [  # what --help, bad input and finished runs need: importing torch takes seconds
    "models",
    "models.description",
    "models.units",
    "lottery.patterns",
    "lottery.ranks",
    "lottery.readers.registry",
    "lottery.formats.registry",
    "lottery.pruning_at_init.criteria",
    "lottery.tickets.layer_quotas",
    "lottery.greedy.names",
    "lottery.greedy.channels.budgets",
]
TORCHLESS_FILES = ["rules.py", "controls.py", "config.py"]  # wherever they lie in lottery/
LONGEST_MODULE, MEDIAN_FUNCTION, TOP_LEVEL_FILES = 300, 7, 20


class Module(NamedTuple):
    name: str  # "lottery.search.imp"; that of its package for an __init__.py
    source: str
    is_package: bool = False


def modules(root: Path) -> list[Module]:
    """The modules of the top level, models/ and lottery/."""
    files = [*root.glob("*.py"), *(root / "models").rglob("*.py"), *(root / "lottery").rglob("*.py")]
    return [module(file, root) for file in sorted(files)]


def module(file: Path, root: Path) -> Module:
    parts = file.relative_to(root).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return Module(".".join(parts[:-1] if is_package else parts), file.read_text(), is_package)


def module_imports(importer: Module, known: set[str]) -> set[str]:
    """The modules among `known` that a module imports, wherever the import stands."""
    imported = imported_names(importer)
    return {found for name in imported if (found := longest_known(name, known))} - {importer.name}


def imported_names(importer: Module) -> Iterator[str]:
    """Dotted names that a module imports; `from a import b` gives a.b, be b a module or not."""
    package = importer.name.split(".")[: None if importer.is_package else -1]
    for node in ast.walk(ast.parse(importer.source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = [*base, *(node.module or "").split(".")] if node.module else base
            yield from (".".join([*origin, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and called_name(node) in ("import_module", "__import__") and node.args:
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield target.value


def called_name(call: ast.Call) -> str | None:
    return getattr(call.func, "attr", getattr(call.func, "id", None))


def longest_known(name: str, known: set[str]) -> str | None:
    """The known module that `name` is or lies in: a.b for a.b.function."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def import_graph(tree: list[Module]) -> dict[str, set[str]]:
    known = {module.name for module in tree}
    return {module.name: module_imports(module, known) for module in tree}


def edges(tree: list[Module]) -> list[tuple[str, str]]:
    """(importing module, imported module), in order."""
    return [(name, target) for name, targets in sorted(import_graph(tree).items()) for target in sorted(targets)]


def package(name: str) -> str:
    """What a module is ordered by: `lottery.search` for lottery.search.imp, `models` for models.build."""
    return ".".join(name.split(".")[:2]) if name.startswith("lottery.") else name.split(".")[0]


def layer(name: str) -> int | None:
    """The number of a module's layer; None for a package of lottery/ that has none."""
    return LAYER.get(package(name), None if package(name).startswith("lottery.") else SCRIPT)


# --- the rules: offenders in a tree -----------------------------------------------------------------------------------


def without_layer(tree: list[Module]) -> list[str]:
    names = [module.name for module in tree if layer(module.name) is None]
    return [f"{name} lies in a package without a layer: name it in LAYERS" for name in names]


def upward_imports(tree: list[Module]) -> list[str]:
    ordered = [(a, b) for a, b in edges(tree) if None not in (layer(a), layer(b))]
    return [f"{a} (layer {layer(a)}) imports {b} (layer {layer(b)})" for a, b in ordered if layer(a) < layer(b)]


def sideways_imports(tree: list[Module]) -> list[str]:
    methods = [(a, b) for a, b in edges(tree) if package(a) in METHODS and package(b) in METHODS]
    return [f"{a} imports {b}, of another method" for a, b in methods if package(a) != package(b)]


def script_imports(tree: list[Module]) -> list[str]:
    return [f"{a} imports the script {b}" for a, b in edges(tree) if layer(a) != SCRIPT and layer(b) == SCRIPT]


def import_circles(tree: list[Module]) -> list[str]:
    """A shortest circle through each module that imports itself by way of others; each circle once."""
    graph = import_graph(tree)
    found = [circle for name in sorted(graph, reverse=True) if (circle := shortest_circle(name, graph))]
    circles = {frozenset(circle): circle for circle in found}
    return [" -> ".join([*circle, circle[0]]) for circle in circles.values()]


def shortest_circle(start: str, graph: dict[str, set[str]]) -> list[str] | None:
    """Breadth first: the modules on a shortest way from `start` back to it."""
    paths, seen = [[start]], {start}
    for path in paths:
        for target in sorted(graph[path[-1]]):
            if target == start:
                return path
            if target not in seen:
                seen.add(target)
                paths.append([*path, target])
    return None


def argparse_uses(tree: list[Module]) -> list[str]:
    """Modules of lottery/ outside lottery/cli/ that import argparse or name its Namespace."""
    library = [m for m in tree if m.name.startswith("lottery.") and package(m.name) != "lottery.cli"]
    lines = {m.name: [node.lineno for node in ast.walk(ast.parse(m.source)) if names_argparse(node)] for m in library}
    return [f"{name} uses argparse in lines {sorted(set(found))}" for name, found in lines.items() if found]


def names_argparse(node: ast.AST) -> bool:
    imported = {alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)}
    words = {getattr(node, key, None) for key in ("id", "attr", "module")} | imported
    return not words.isdisjoint({"argparse", "Namespace"})


def long_modules(tree: list[Module]) -> list[str]:
    lengths = [(m.name, len(m.source.splitlines())) for m in tree if layer(m.name) != SCRIPT]
    return [f"{name} has {length} lines" for name, length in lengths if length > LONGEST_MODULE]


def function_lengths(tree: list[Module]) -> list[int]:
    """Of the functions of lottery/ and the top-level modules, from def to the last line."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    ours = [ast.parse(m.source) for m in tree if not m.name.startswith("models")]
    nodes = [node for parsed in ours for node in ast.walk(parsed) if isinstance(node, functions)]
    return [node.end_lineno - node.lineno + 1 for node in nodes]


def torchless(tree: list[Module]) -> list[str]:
    """The modules that must be importable without torch."""
    files = tuple("." + file.removesuffix(".py") for file in TORCHLESS_FILES)
    light = [m.name for m in tree if package(m.name) == "lottery.cli" or m.name.endswith(files)]
    return TORCHLESS + [name for name in light if name.startswith("lottery.")]


def importing_torch(names: list[str], root: Path) -> list[str]:
    """The first of the modules after whose import torch is loaded; those after it cannot be judged."""
    code = """
import importlib, json, sys
names = json.loads(sys.argv[1])
print(next((name for name in names if importlib.import_module(name) and "torch" in sys.modules), ""))"""
    words = [sys.executable, "-c", code, json.dumps(names)]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [f"import {name} loads torch" for name in done.stdout.split()]


# --- the suite --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def suite() -> list[Module]:
    return modules(ROOT)


def assert_none(offenders: list[str]) -> None:
    assert not offenders, "\n".join(["", *offenders])


def test_every_package_of_the_library_has_a_layer(suite):
    assert_none(without_layer(suite))


def test_imports_go_only_downward(suite):
    assert_none(upward_imports(suite))


def test_the_methods_do_not_import_one_another(suite):
    assert_none(sideways_imports(suite))


def test_the_library_imports_no_script(suite):
    assert_none(script_imports(suite))


def test_no_modules_import_in_a_circle(suite):
    assert_none(import_circles(suite))


def test_argparse_stays_in_the_command_line_package(suite):
    assert_none(argparse_uses(suite))


def test_no_library_module_is_longer_than_300_lines(suite):
    assert_none(long_modules(suite))


def test_the_top_level_stays_small():
    files = sorted(file.name for file in ROOT.glob("*.py"))
    assert len(files) <= TOP_LEVEL_FILES, f"{len(files)} files at the top level: {' '.join(files)}"


def test_functions_stay_short(suite):
    assert median(function_lengths(suite)) <= MEDIAN_FUNCTION


def test_what_needs_no_torch_does_not_import_it(suite):
    assert_none(importing_torch(torchless(suite), ROOT))


# --- the rules on made-up trees ---------------------------------------------------------------------------------------


def made_up(**sources: str) -> list[Module]:
    """Modules by name, with two underscores for a dot."""
    return [Module(name.replace("__", "."), source) for name, source in sources.items()]


@pytest.mark.parametrize(
    "source",
    [
        "import lottery.search.imp",
        "import lottery.search.imp as search",
        "from lottery.search import imp",
        "from lottery.search.imp import search",
        "from ..search import imp",
        "from ..search.imp import search",
        "def later():\n    from lottery.search import imp",
        "if TYPE_CHECKING:\n    from lottery.search.imp import Search",
        "importlib.import_module('lottery.search.imp')",
        "__import__('lottery.search.imp')",
    ],
)
def test_every_form_of_import_is_read(source):
    tree = made_up(lottery__tickets__load=source, lottery__search__imp="")
    assert upward_imports(tree) == ["lottery.tickets.load (layer 7) imports lottery.search.imp (layer 8)"]


def test_relative_imports_of_a_package_start_at_itself():
    tree = [Module("models", "from .build import build", is_package=True), Module("models.build", "")]
    assert import_graph(tree) == {"models": {"models.build"}, "models.build": set()}


BROKEN = [
    (without_layer, made_up(lottery__odds__ends=""), "lottery.odds.ends lies in a package without a layer"),
    (upward_imports, made_up(utils="import pruner", pruner=""), "utils (layer 0) imports pruner (layer 1)"),
    (
        sideways_imports,
        made_up(lottery__greedy__names="import lottery.search.imp", lottery__search__imp=""),
        "lottery.greedy.names imports lottery.search.imp, of another method",
    ),
    (
        script_imports,
        made_up(lottery__study__jobs="import main_imp", main_imp=""),
        "lottery.study.jobs imports the script main_imp",
    ),
    (
        import_circles,
        made_up(main_imp="import utils", dataset="import utils", utils="import pruner", pruner="import dataset"),
        "dataset -> utils -> pruner -> dataset",
    ),
    (
        argparse_uses,
        made_up(lottery__tickets__load="from argparse import Namespace", lottery__cli__flags="import argparse"),
        "lottery.tickets.load uses argparse in lines [1]",
    ),
    (long_modules, made_up(pruner="#\n" * 301, dataset="#\n" * 300, main_imp="#\n" * 400), "pruner has 301 lines"),
]


@pytest.mark.parametrize("rule, tree, sentence", BROKEN, ids=[rule.__name__ for rule, *_ in BROKEN])
def test_a_broken_rule_names_the_offender(rule, tree, sentence):
    (offender,) = rule(tree)
    assert offender.startswith(sentence)


def test_downward_imports_and_those_of_others_are_allowed():
    tree = made_up(main_imp="import argparse, lottery.search.imp", lottery__search__imp="import torch, utils", utils="")
    assert [rule(tree) for rule, *_ in BROKEN] == [[]] * len(BROKEN)


@pytest.mark.parametrize("source", ["import argparse", "def f(args: argparse.Namespace): ...", "x: Namespace = None"])
def test_argparse_is_seen_in_imports_and_annotations(source):
    assert argparse_uses(made_up(lottery__search__imp=source))


def test_functions_are_measured_from_def_to_the_last_line():
    tree = made_up(
        utils="@decorated\ndef f():\n    x = 1\n    def g():\n        return x\n    return g",
        models__vgg="def f(): ...",
    )
    assert function_lengths(tree) == [5, 2]


def test_a_module_that_imports_torch_is_named(tmp_path):
    (tmp_path / "light.py").touch()
    (tmp_path / "torch.py").touch()
    (tmp_path / "heavy.py").write_text("import torch")
    assert importing_torch(["light", "heavy"], tmp_path) == ["import heavy loads torch"]


def test_every_name_that_programs_import_when_they_need_it_is_there():
    """Of benchmarks and stress tests, of which tests only read the flags; the types of lottery/ are checked."""
    missing = []
    for file in (*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests" / "stress").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and importlib.util.find_spec(node.module.partition(".")[0]):
                there = import_module(node.module)
                names = [alias.name for alias in node.names]
                missing += [
                    f"{file.name}: {node.module}.{name}"
                    for name in names
                    if not hasattr(there, name) and not importlib.util.find_spec(f"{node.module}.{name}")
                ]
    assert not missing
