"""The README and docs/: their commands, links, file names, flags and names of code.

Commands of main_*.py, report.py, verify.py and convert.py are run as they stand, those of torchrun by one process,
shortened by flags that come later and so win: on the digits, on a small network, for two epochs, on stand-ins for the
files they name. Those in `PARSED` (whole studies, benchmarks, stress tests) and the one with --family, which needs
large networks, are parsed only.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import main_imp
import main_init
import main_PrAC_imp
from lottery.cli.registry import MODULES, cli_module, flag_names
from lottery.study.grid import NOT_FLAGS
from lottery.study.job_checks import check_jobs
from lottery.study.study_file import METHOD_SCRIPTS, PARTS, RESERVED, read_study
from models.description import Description
from tests.helpers import ROOT, run_in_process

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE_PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]  # whose names of code are checked

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# --- what a page holds ------------------------------------------------------------------------------------------------


FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, continued lines joined."""
    return [text.replace("\\\n", " ") for kind, text in FENCED.findall(page.read_text()) if kind == language]


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def inline_code(page: Path) -> list[str]:
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`\n]+)`", prose(page))]


def headings(page: Path) -> set[str]:
    """Their anchors, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


class Command(NamedTuple):
    program: str  # "main_imp.py", or a module: "benchmarks.run"
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.program} {' '.join(self.words)}"[:60]


def commands(page: Path) -> Iterator[Command]:
    """Those that call our scripts and modules."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    for part in (part for line in lines for part in line.split(" && ")):
        words = shlex.split(part, comments=True)
        words = words[1:] if words and "=" in words[0] else words  # OMP_NUM_THREADS=1
        if words and Path(words[0]).name in ("python", "python3"):
            _, *words = (word for word in words if word not in ("-u", "-m"))
            if words[0] not in ("venv", "pytest"):
                yield Command(words[0], tuple(words[1:]))
        if words and words[0] == "torchrun":
            script = next(place for place, word in enumerate(words) if word.endswith(".py"))
            yield Command(words[script], tuple(words[script + 1 :]))


ALL = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def is_parsed(command: Command) -> bool:
    return command.program in PARSED or "--family" in command.words


PARSED = ("study.py", "benchmarks.run", "benchmarks.same_training", "benchmarks.selection")
PARSED += ("benchmarks.semi_structured", "benchmarks.image_files")
PARSED += ("benchmarks.basis_step", "benchmarks.first_step")
PARSED += ("benchmarks.study_processes", "benchmarks.scale_on_paper")
PARSED += tuple(f"tests.stress.{name}" for name in ("kills", "corruption", "full_disk", "fuzz", "ranks"))
RUN = [command for command in ALL if not is_parsed(command)]


def test_commands_of_every_script_are_found():
    assert {command.program for command in ALL} == {*MODULES, *PARSED}
    assert {command.program for command in RUN} == {*MODULES} - {"study.py"}


# --- commands ---------------------------------------------------------------------------------------------------------

SHORT = {  # values that make a command quick, given to the scripts that know the flag
    "dataset": "digits", "arch": "tests.networks:tiny", "stem": "imagenet", "epochs": 2, "decreasing_lr": "1",
    "batch_size": 64, "warmup": 0, "gpu": -1, "pruning_times": 1, "rewind_epoch": 0, "points": 3,
}  # fmt: skip
ALSO = {  # and those of single scripts
    "main_greedy.py": {"hidden": 30, "examples": 100, "iterations": 20, "prune_at": "0,20", "neurons": 10,
                       "fine_tune": 5},
    "main_channels.py": {"candidates": 4, "select_examples": 50, "fine_tune_epochs": 1},
}  # fmt: skip
PLACES = {"init_dir": "ticket", "mask_dir": "ticket", "prac_set": "PrAC", "like_run": "PrAC", "steps_of": "PrAC"}


def typed(flags: dict, script: str) -> list:
    """Flags as they are typed; those that the script knows."""
    known = flag_names(script)
    return [word for flag, value in flags.items() if flag in known for word in (f"--{flag}", value)]


def make(script, folder: Path, **flags):
    """A short run in this folder."""
    words = typed(SHORT | flags | {"save_dir": folder}, f"{script.__name__}.py")
    status, _, err = run_in_process(script, *words)
    assert status == 0, err


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> dict[str, Path]:
    """Runs and files to take the places of those that commands name."""
    folder = tmp_path_factory.mktemp("stand_ins")
    split = folder / "split.npy"
    np.save(split, np.random.default_rng(0).permutation(1437))
    make(main_imp, folder / "imp", prune_type="rewind_lt", split_file=split)
    make(main_PrAC_imp, folder / "PrAC", prune_type="rewind_lt", split_file=split)
    make(main_init, folder / "res20s", arch="res20s", criterion="magnitude", density=0.1)
    make(main_init, folder / "projection", arch="res20s_projection", criterion="magnitude", density=0.1)
    blocks = {"block": "filter", "ranking": "uniform", "density": 0.5, "criterion": "magnitude"}
    make(main_init, folder / "filters", arch="lenet300", **blocks)
    return {
        "split_file": split,
        "run": folder / "imp",
        "PrAC": folder / "PrAC",
        "ticket": folder / "imp" / "1checkpoint.pth.tar",
        "trained": folder / "imp" / "0checkpoint.pth.tar",
        "res20s": folder / "res20s" / "checkpoint.pth.tar",
        "projection": folder / "projection" / "checkpoint.pth.tar",  # open_lth has this network
        "filters": folder / "filters" / "checkpoint.pth.tar",
    }


def shortened(command: Command, stand_ins: dict[str, Path], save_dir: Path) -> list:
    """The command's words, with flags behind them that make it quick, and stand-ins for its files."""
    script, given = command.program, {word.removeprefix("--") for word in command.words if word.startswith("--")}
    if script == "convert.py":
        places = {"open_lth": "projection", "sliced": "filters"}
        place = next((places[word] for word in command.words if word in places), "ticket")
        return [stand_ins["trained" if "trained" in given else place], *command.words[1:], "--output", save_dir / "out"]
    if script in ("report.py", "verify.py", "main_robustness.py"):
        return on_stand_ins(script, stand_ins, save_dir)
    later = SHORT | ALSO.get(script, {}) | {"split_file": stand_ins["split_file"], "save_dir": save_dir / "run"}
    later |= {flag: stand_ins[place] for flag, place in PLACES.items() if flag in given}
    if "densities" in given:  # which say how many prunings there are
        del later["pruning_times"]
    if "init_dir" in given and ("rule" in given or script == "main_channels.py"):
        later["init_dir"] = stand_ins["trained"]
    if script == "main_elastic.py":
        later |= dict.fromkeys(("init_dir", "mask_dir"), stand_ins["res20s"])
    if script == "main_channels.py":  # which trains the dense network if it is not given its weights
        unused = ("epochs", "decreasing_lr") if "init_dir" in given else ()
        later = {flag: value for flag, value in later.items() if flag not in unused}
        later |= {"export": save_dir / "small.pt2"} if "export" in given else {}
        later |= {"prune_at": "0,20"} if "prune_at" in given else {}
    return [*command.words, *typed(later, script)]


def on_stand_ins(script: str, stand_ins: dict[str, Path], save_dir: Path) -> list:
    """The words of a script that looks at runs or files, on those that there are."""
    if script == "verify.py":
        return sorted(stand_ins["PrAC"].glob("*.pth.tar"))
    if script == "report.py":
        return [stand_ins["run"], stand_ins["PrAC"], "--output", save_dir / "report"]
    return [stand_ins["run"], "--pgd_steps", 1, "--examples", 20]


ENDS = {  # what a script prints once its work is done
    "main_imp.py": "the newest ticket", "main_PrAC_imp.py": "the newest ticket",
    "main_train.py": "best validation epoch", "main_init.py": "the ticket is in", "main_elastic.py": "the ticket is in",
    "main_stability.py": "error barrier", "main_robustness.py": "pgd", "main_greedy.py": "fine-tuned, within",
    "main_dst.py": "sparse, is in", "main_channels.py": "the newest small network is in",
    "report.py": "report.html", "verify.py": "holds",
    "convert.py": "is written",
}  # fmt: skip


@pytest.mark.parametrize("command", RUN, ids=str)
def test_a_command_runs(call, tmp_path, stand_ins, command):
    """It parses as it stands, and runs shortened."""
    cli_module(command.program).parser().parse_args(list(command.words))
    words = shortened(command, stand_ins, tmp_path)
    status, out, err = call(command.program.removesuffix(".py"), *words)
    assert status == 0, err
    assert ENDS[command.program] in out


@pytest.mark.parametrize("command", [command for command in ALL if is_parsed(command)], ids=str)
def test_a_long_command_parses(command):
    module = cli_module(command.program) if command.program in MODULES else import_module(command.program)
    args = module.parser().parse_args(list(command.words))
    assert command.program != "study.py" or args.new or args.file.exists()


@by_page
def test_a_page_names_no_flag_that_no_script_has(page):
    flags = {flag for code in inline_code(page) for flag in re.findall(r"(?<![\w-])--(\w+)", code)}
    assert flags <= known_flags()


@by_page
def test_the_flags_behind_a_scripts_name_are_its_own(page):
    for script, *words in (code.split() for code in inline_code(page)):
        if script in MODULES:
            flags = {word.removeprefix("--") for word in words if word.startswith("--")}
            assert flags <= flag_names(script), script


def known_flags() -> set[str]:
    modules = [import_module(name) for name in PARSED if not name.endswith(".py")]
    return {flag for script in MODULES for flag in flag_names(script)} | {
        flag for module in modules for flag in module.parser().flag_names
    }


# --- links, files, names ----------------------------------------------------------------------------------------------


@by_page
def test_links_pictures_and_anchors_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert not anchor or anchor in headings(there), target


OURS = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and path.name not in (".git", "runs", "data"))


@by_page
def test_files_that_a_page_names_are_there(page):
    """In the repository's folders by their paths, scripts by their names."""
    words = {word.rstrip(":,;") for code in inline_code(page) for word in code.split()}
    paths = {word for word in words if re.fullmatch(r"[\w./*-]+", word) and (word.startswith(OURS) or is_script(word))}
    assert [path for path in sorted(paths) if not any(ROOT.glob(path.rstrip("/")))] == []


def is_script(word: str) -> bool:
    return word.endswith(".py") and "/" not in word


def test_every_page_is_linked_from_the_readme():
    linked = {
        (ROOT / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)]+)\)", README.read_text())
    }
    assert [page for page in PAGES[1:] if page not in linked] == []


@pytest.mark.parametrize("page", CODE_PAGES, ids=lambda page: page.name)
def test_classes_functions_and_constants_that_a_page_names_are_defined(page):
    sources = [
        *ROOT.glob("*.py"),
        *(path for name in ("lottery", "models", "npy_files") for path in (ROOT / name).rglob("*.py")),
    ]
    defined = re.compile(r"^\s*(?:class|def) (\w+)|^([A-Z][A-Z_]+)(?:, [A-Z_]+)*(?:: .*)? = ", flags=re.MULTILINE)
    names = {name for source in sources for groups in defined.findall(source.read_text()) for name in groups}
    asked = {code for code in inline_code(page) if re.fullmatch(r"\w+\(\)|[A-Z][a-z]\w+|[A-Z][A-Z_]{3,}", code)}
    assert {code.removesuffix("()") for code in asked} - {"None", "NAME"} <= names
    assert asked


def test_the_readme_is_short():
    assert len(README.read_bytes()) <= 10_000


def test_the_readme_has_the_tree():
    (tree,) = (block for block in blocks(README, "") if "lottery/" in block)
    packages = set(re.findall(r"^  (\w+)/ ", tree, flags=re.MULTILINE))
    assert packages == {path.parent.name for path in (ROOT / "lottery").glob("*/__init__.py")}


def test_toml_in_the_pages_is_what_it_says():
    (family,) = blocks(ROOT / "docs" / "methods" / "elastic.md", "toml")
    Description("family.toml", tomllib.loads(family))


@pytest.mark.parametrize("number, runs", [(0, 140), (1, 4)])
def test_the_examples_of_the_study_format_are_studies(tmp_path, monkeypatch, number, runs):
    """Each is planned and checked as it stands; a part of a file, with a method."""
    example = blocks(ROOT / "docs" / "study_format.md", "toml")[number]
    whole = example if "[methods" in example else f'{example}\n[methods.IMP]\nscript = "main_imp.py"\n'
    (tmp_path / "study.toml").write_text(whole)
    monkeypatch.chdir(tmp_path)
    study = read_study(Path("study.toml"))
    check_jobs(study)
    assert len(study.jobs) == runs
    assert number or f"{runs} runs:" in prose(ROOT / "docs" / "study_format.md")


def test_the_study_format_has_every_key():
    """In its reference; and the example has every part but cases, which come after it."""
    page = ROOT / "docs" / "study_format.md"
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", prose(page).partition("## Details")[0]))))
    assert {*PARTS, "cases", "like"}.union(*NOT_FLAGS.values()) <= words
    assert {*PARTS} == tomllib.loads(blocks(page, "toml")[0]).keys()
    assert all(f"`{flag}`" in prose(page).partition("## Details")[2] for flag in RESERVED)
    assert all(f"`{script}`" in prose(page) for script in METHOD_SCRIPTS)


def test_every_study_has_its_row():
    table = (ROOT / "docs" / "studies_and_reports.md").read_text()
    assert all(f"`studies/{file.name}`" in table for file in (ROOT / "studies").glob("*.toml"))
