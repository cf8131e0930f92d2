"""The scripts at the border: help, bad input, tickets from elsewhere."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lottery.checkpointing.checkpoint import read
from lottery.cli import dst, flags, imp, prac_imp, train
from lottery.cli.registry import MODULES, cli_module
from lottery.retraining.config import RetrainingConfig
from lottery.search.config import ImpConfig, PracConfig
from lottery.training.config import TrainingConfig
from lottery.training.environment import environment_changes
from tests.helpers import ROOT, needs_cuda, one_sentence
from utils import expand_home

PRUNING = ["main_imp", "main_PrAC_imp"]
ALL = [*PRUNING, "main_train"]
QUICK = "--dataset digits --arch tests.networks:tiny --epochs 2 --decreasing_lr 1 --batch_size 64".split()


@pytest.mark.parametrize("script", MODULES)
def test_help_explains_every_flag_with_its_default(script, capsys):
    parser = cli_module(script).parser()
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    for action in parser._actions:
        assert action.help, action.option_strings
        assert all(option in text for option in action.option_strings)
        if action.default is not None and action.default is not False and isinstance(action.default, int | float):
            assert f"(default: {action.default})" in text


SHARED = """data dataset arch split_file seed save_dir gpu batch_size lr momentum weight_decay epochs warmup print_freq
decreasing_lr"""
PRUNE = "resume checkpoint pruning_times rate prune_type rewind_epoch"
REFERENCE_FLAGS = {
    "main_imp": f"{SHARED} {PRUNE} random_prune",
    "main_PrAC_imp": f"{SHARED} {PRUNE} eb_eps queue_length data_prune threshold data_rate",
    "main_train": f"{SHARED} init_dir mask_dir save_model",
}
DEFAULTS = {"batch_size": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "epochs": 182, "warmup": 0,
            "print_freq": 50, "decreasing_lr": (91, 136), "pruning_times": 16, "rate": 0.2, "prune_type": "lt",
            "rewind_epoch": 2, "eb_eps": 0.08, "queue_length": 5, "data_prune": "zero_out", "threshold": 0,
            "data_rate": 0.2, "seed": 0, "arch": "res20s"}  # not --gpu: None is its 0 and more  # fmt: skip


@pytest.mark.parametrize("script", ALL)
def test_every_flag_of_the_2021_scripts_is_there_with_its_default(script):
    args = vars(cli_module(f"{script}.py").read_flags(["--save_dir", "x"]))
    for flag in REFERENCE_FLAGS[script].split():
        assert flag in args
        assert flag not in DEFAULTS or args[flag] == DEFAULTS[flag]


def test_flags_are_checked_before_anything_heavy_is_imported():
    code = (
        "import sys, main_PrAC_imp as m; s = m.main(['--save_dir', 'x', '--arch', 'resnet']);"
        "assert s == 2, s; assert not {'torch', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


BAD = [  # flags, what the one sentence must say
    ("--dataset cifar11", "cifar10.*digits.*cifar11"),
    ("--arch resnet9", "res20s.*resnet9"),
    ("--epochs 0", "from 1 up, got 0"),
    ("--epochs 2.5", "from 1 up, got 2.5"),
    ("--batch_size -3", "got -3"),
    ("--batch_size 1", "from 2 up.*got 1"),
    ("--lr 0", "above 0, got 0"),
    ("--lr nan", "above 0, got nan"),
    ("--lr inf", "above 0, got inf"),
    ("--lr 1e300", "above 0, got 1e300"),
    ("--momentum 1", "got 1"),
    ("--weight_decay -1", "got -1"),
    ("--seed -1", "got -1"),
    ("--seed x", "got x"),
    ("--gpu -2", "-1 for the CPU, got -2"),
    ("--decreasing_lr 91,x", "rising order.*91,x"),
    ("--decreasing_lr 5,5", "rising order.*5,5"),
    ("--decreasing_lr 0,5", "from 1 up.*0,5"),
    ("--warmup 9 --epochs 3", "--warmup 9.*--epochs 3"),
    ("--label_smoothing nan", r"in \[0, 1\), got nan"),
    ("--schedule polynomial", "polynomial.*step.*cosine"),
    ("--gamma 0", "above 0, at most 1, got 0"),
    ("--gamma 0.5 --schedule linear", "--gamma 0.5 .*--schedule linear: give one of them"),
    ("--gamma 0.5 --decreasing_lr=", "--decreasing_lr, which has none"),
    ("--optimizer rmsprop", "rmsprop.*sgd.*adam"),
    ("--nesterov --optimizer adam", "--nesterov .*--optimizer adam"),
    ("--nesterov --momentum 0", "--nesterov needs --momentum above 0, got 0"),
    ("--label_smoothing 1", "in \\[0, 1\\), got 1"),
    ("--label_smoothing -0.1", "got -0.1"),
    ("--batch_selection all", "all.*infobatch"),
    ("--selection_rate 0.3", "--selection_rate says how batches are selected: give --batch_selection infobatch, too"),
    ("--batch_selection infobatch --selection_rate 1", "between 0 and 1, both excluded, got 1"),
    ("--batch_selection infobatch --selection_rate 0", "between 0 and 1, both excluded, got 0"),
    ("--batch_selection infobatch --selection_until 0.5 --epochs 2 --decreasing_lr 1", "nothing would be left out"),
    ("--batch_selection infobatch --selection_until 0", "at most 1, got 0"),
    ("--split_file nowhere.npy", "nowhere.npy does not exist"),
    ("--split_file .", "is a directory"),
    ("--data somewhere", "--data somewhere without --dataset"),
    ("--dataset imagefolder --data nowhere", "nowhere"),
    ("--image_size 32", "image_size"),
    ("--stem cifar", "res18"),
    ("--stem vgg", "vgg"),
    ("--arch vgg16_bn", "vgg16_bn needs images of at least 16.*8"),
    ("--arch tests.networks:nothing", "nothing"),
    ("--arch nowhere:tiny", "nowhere"),
    ("--arch tests.networks:no_network", "no_network"),
    ("--resume", "nothing to resume"),
    ("--checkpoint nowhere.pth.tar", "nowhere.pth.tar does not exist"),
    ("--checkpoint README.md", "with --resume only"),
    ("--resume --overwrite", "give one of them"),
    ("--arch tests.networks:weight_normed", "network.0.weight is no nn.Parameter"),
    ("--arch tests.networks:lazy", "lazy layers"),
    ("--arch tests.networks:leaves", "SystemExit"),
    ("--no_such_flag", "no_such_flag"),
    ("--precision half", "half.*bf16"),
    ("--precision tf32", "tf32 needs an NVIDIA GPU .* the CPU takes auto, fp32, bf16"),
    ("--compile maybe", "maybe"),
    ("--save_interval -1", "from 0 up, got -1"),
    ("--save_interval inf", "from 0 up, got inf"),
]
BAD_PRUNING = [
    ("--batch_selection infobatch --eb_eps 0.1 --eb_interval steps", "--eb_interval steps counts"),
    ("--densities 0.5,0.6", "falling order.*got '0.5,0.6'"),
    ("--densities 1,0.5", "between 0 and 1.*got '1,0.5'"),
    ("--densities x", "falling order.*got 'x'"),
    ("--densities 0.5 --rate 0.2", "--rate says so, too"),
    ("--densities 0.5 --rate 0.2 --pruning_times 1", "--pruning_times and --rate say so, too"),
    ("--pattern 4:2", "1 <= N < M <= 32, such as 2:4, got '4:2'"),
    ("--pattern 2:64", "1 <= N < M <= 32, such as 2:4, got '2:64'"),
    ("--pattern half", "got 'half'"),
    ("--pattern 2:4 --rate 0.5", "--pattern 2:4 is one pruning.*--rate says otherwise"),
    ("--pattern 2:4 --densities 0.5 --pruning_times 2", "--densities and --pruning_times say otherwise"),
    ("--pattern 2:4 --mask_dir README.md", "--mask_dir begins with a mask"),
    ("--between stay", "stay.*rewind.*continue"),
    ("--vanilla_epochs 0", "from 1 up, got 0"),
    ("--prune_type xx", "xx"),
    ("--pruning_times 0", "got 0"),
    ("--prune_type rewind_lt --rewind_epoch 3 --epochs 3", "smaller than --epochs 3, got 3"),
    ("--rewind_lr", "rewind_lt"),
    ("--eb_eps 0", "above 0, at most 1, got 0"),
    ("--eb_eps 1.5", "at most 1, got 1.5"),
    ("--rate 1", "between 0 and 1.*got 1"),
    ("--rate 0", "between 0 and 1.*got 0"),
    ("--rate x", "between 0 and 1.*got x"),
    ("--arch tests.networks:tiny --rate 0.9 --pruning_times 5", "leaves none of the 1368"),
    (
        "--arch tests.networks:only_linear",
        "nothing to prune: .* beside its classifier, which --prune_classifier prunes",
    ),
    ("--queue_length 0", "got 0"),
    ("--prac_set nowhere", "nowhere does not exist"),
    ("--prac_set .", "0checkpoint.pth.tar"),
]


@pytest.mark.parametrize("words, message", BAD, ids=[words for words, _ in BAD])
@pytest.mark.parametrize("script", ["main_PrAC_imp", "main_train"])
def test_bad_input_is_one_sentence(call, tmp_path, script, words, message):
    one_sentence(call, script, words.split(), tmp_path, message)


@pytest.mark.parametrize("words, message", BAD_PRUNING, ids=[words for words, _ in BAD_PRUNING])
@pytest.mark.parametrize("script", PRUNING)
def test_bad_pruning_input_is_one_sentence(call, tmp_path, script, words, message):
    one_sentence(call, script, words.split(), tmp_path, message)


@pytest.mark.parametrize(
    "words, lr, gamma, drops, notes",
    [
        ("", 0.1, 0.1, (91, 136), ()),
        ("--optimizer adam --gamma 0.5", 0.001, 0.5, (91, 136), ()),
        ("--optimizer adam --lr 0.1 --schedule linear", 0.1, 0.1, (), ()),
        ("--schedule cosine --decreasing_lr=", 0.1, 0.1, (), ()),
        ("--schedule cosine --decreasing_lr 4,6", 0.1, 0.1, (),
         ("--decreasing_lr 4,6 has no effect: the learning rate falls by --schedule cosine",)),
    ],
)  # fmt: skip
def test_defaults_of_a_recipe_follow_from_its_other_flags(words, lr, gamma, drops, notes):
    training = train.read_config(["--save_dir", "x", *words.split()]).training
    recipe = training.recipe
    assert (recipe.lr, recipe.gamma, recipe.milestones, training.run.notes) == (lr, gamma, drops, notes)


def test_flags_without_effect_are_noted_in_the_log(call, tmp_path):
    words = [*QUICK, "--epochs", 1, "--schedule", "linear", "--save_dir", tmp_path]
    status, out, _ = call("main_train", *words)
    assert status == 0 and "note: --decreasing_lr 1 has no effect" in out
    assert "learning rate falls linearly from epoch 0 on, to 0 after the last step" in out and "drops" not in out


NO_STOP = "has no effect: there is no early stop without --eb_eps"


@pytest.mark.parametrize(
    "cli, words, notes",
    [
        (imp, "--rewind_epoch 2 --prune_type rewind_lt --epochs 3", []),
        (imp, "--rewind_epoch=2", ["--rewind_epoch 2 has no effect: it is for --prune_type rewind_lt, and this run has "
                                   "--prune_type lt"]),
        (imp, "--rewind_iteration 9 --prune_type pt",
         ["--rewind_iteration 9 has no effect: it is for --prune_type rewind_lt, and this run has --prune_type pt"]),
        (imp, "--eb_eps 0.1 --queue_length 3", []),
        (imp, "--queue_length 5 --eb_arm none", [f"--queue_length 5 {NO_STOP}", f"--eb_arm none {NO_STOP}"]),
        (prac_imp, "--queue_length 3 --threshold 1", []),
        (prac_imp, "--no_early_stop --eb_eps 0.1",
         ["--eb_eps 0.1 has no effect: --no_early_stop trains every round to its end"]),
        (prac_imp, "--data_rate 0.3 --data_prune constant", []),
        (prac_imp, "--data_rate 0.3",
         ["--data_rate 0.3 has no effect: it is for --data_prune constent, and this run has --data_prune zero_out"]),
        (prac_imp, "--threshold 1 --data_prune constent",
         ["--threshold 1 has no effect: --data_prune constent keeps the most forgotten examples, however often they "
          "were forgotten"]),
        (prac_imp, "--like_run . --members easy --no_early_stop --queue_length 3",
         ["--queue_length 3 has no effect: --like_run ends rounds where those of its run ended",
          "--no_early_stop has no effect: --like_run ends rounds where those of its run ended"]),
        (dst, "--method gmp --density 0.1 --rewind_epoch 1",
         ["--rewind_epoch 1 has no effect: it is for --prune_type rewind_lt, and this run has --prune_type lt"]),
    ],
)  # fmt: skip
def test_flags_of_a_search_that_change_nothing_are_noted(cli, words, notes):
    assert list(cli.read_config(["--save_dir", "x", *words.split()]).training.run.notes) == notes


def test_an_empty_save_dir_is_refused(call):
    """An unset shell variable, which as a path would be the current directory."""
    status, _, err = call("main_imp", "--save_dir", "")
    assert status == 2 and "--save_dir: must be a path" in err


def test_a_home_that_the_shell_left_alone_is_the_users(monkeypatch, tmp_path):
    """--save_dir=~/x comes as it was typed; a shell that gives ./~ or the home of nobody means a file of that name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    home = train.read_flags(["--save_dir=~/x"]).save_dir
    assert home == tmp_path / "x"
    found = [flags.path(text) for text in ("./~/x", "~nobody-here/x", "a/~")]
    assert found == [Path.cwd() / "~" / "x", Path.cwd() / "~nobody-here" / "x", Path("a/~")]
    assert [expand_home(path) for path in found] == found, "whoever expands it again"


@pytest.mark.parametrize(
    "words, message",
    [
        ("--dataset imagefolder --data ~nobody-here", "--data .*/~nobody-here is not a folder"),
        ("--dataset ~nobody-here/data.py:pairs", "there is no Python file ~nobody-here/data.py"),
        ("--arch ~nobody-here/net.py:net", "there is no Python file ~nobody-here/net.py"),
        ("--dataset imagefolder --data ./~", "/~ has no folder train/"),
        (f"--mask_dir {300 * 'x'}", "--mask_dir x{80}… cannot be used: File name too long$"),
        (f"--split_file {300 * 'x'}", "--split_file x{80}… cannot be used: File name too long$"),
        (f"--dataset cifar10 --data {300 * 'x'}", "--data x{80}… cannot be used: File name too long$"),
        (f"--arch {300 * 'x'}.py:net", "arch x{80}… cannot be used: File name too long$"),
    ],
)
def test_paths_of_no_home_and_names_that_are_too_long_are_one_sentence(call, tmp_path, monkeypatch, words, message):
    (tmp_path / "home" / "train").mkdir(parents=True)
    (tmp_path / "~").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    one_sentence(call, "main_train", words.split(), tmp_path, message)


@pytest.mark.parametrize(
    "script, words",
    [
        ("study", [f"{300 * 'x'}.toml", "--gpu"]),
        ("main_robustness", [300 * "x"]),
        ("main_channels", ["--epochs", "1", "--save_dir", "x", "--export", 300 * "x"]),
    ],
)
def test_files_of_other_scripts_whose_names_are_too_long_are_refused(call, script, words):
    status, out, err = call(script, *words)
    assert status == 2 and not out and err.endswith(" cannot be used: File name too long\n")


def test_a_split_other_than_the_tickets_is_mentioned(call, tmp_path):
    words = [*QUICK, "--save_dir"]
    assert call("main_imp", *words, tmp_path / "imp", "--pruning_times", 1, "--prune_type", "lt")[0] == 0
    rewound = tmp_path / "imp" / "1checkpoint.pth.tar"
    np.save(tmp_path / "split.npy", read(rewound)["sequence"].numpy()[:500])
    more = ["--init_dir", rewound, "--split_file", tmp_path / "split.npy"]
    status, _, err = call("main_train", *words, tmp_path / "other", *more)
    assert status == 2 and "found with 50 examples that validate here" in err


@pytest.mark.parametrize("script", ALL)
def test_save_dir_is_required(call, script):
    status, _, err = call(script)
    assert status == 2 and "--save_dir" in err


def test_a_save_dir_that_is_a_file_is_refused(call, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = call("main_imp", *QUICK, "--save_dir", tmp_path / "file")
    assert status == 2 and "is a file" in err


def test_random_pruning_has_no_early_stop(call, tmp_path):
    one_sentence(call, "main_imp", ["--random_prune", "--eb_eps", "0.1"], tmp_path, "--random_prune")


@pytest.mark.parametrize("flag", ["--init_dir", "--mask_dir"])
def test_bad_tickets_are_one_sentence(call, tmp_path, reference_checkpoint, flag):
    path = reference_checkpoint("imp")
    one_sentence(call, "main_train", [flag, "nowhere.pth.tar"], tmp_path, "does not exist")
    one_sentence(call, "main_train", [*QUICK, flag, str(path)], tmp_path, "another network")
    (tmp_path / "text").write_text("hello")
    one_sentence(call, "main_train", [flag, str(tmp_path / "text")], tmp_path, "no checkpoint")


# --- tickets from elsewhere -------------------------------------------------------------------------------------------


@pytest.fixture
def split_file(tmp_path, reference_checkpoint):
    """A split of digits in which all examples of the 2021 code's PrAC checkpoint train, as they did there."""
    trained = np.asarray(read(reference_checkpoint("prac"))["sequence"])
    rest = np.setdiff1d(np.arange(1437), trained)
    np.save(tmp_path / "split.npy", np.concatenate([trained, rest]))
    return tmp_path / "split.npy"


@pytest.mark.parametrize("which", ["imp", "prac"])
def test_a_ticket_of_the_2021_code_trains_on(call, tmp_path, split_file, reference_checkpoint, which):
    path, tmp_path = reference_checkpoint(which), tmp_path / "run"
    words = ["--dataset", "digits", "--epochs", "1", "--init_dir", path, "--mask_dir", path, "--save_dir", tmp_path]
    status, out, err = call("main_train", *words, "--split_file", split_file)
    assert status == 0, err
    assert "density 0.8000" in out and "another input normalisation" in out
    saved = read(tmp_path / "checkpoint.pth.tar")
    theirs = read(path)["state_dict"]
    for name, value in theirs.items():
        if name.endswith("_mask"):
            assert torch.equal(saved["state_dict"][name], value)
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.pth.tar", "model_SA_best.pth.tar", "net_train.png", "metrics.jsonl", "summary.json"}  # fmt: skip


def test_a_ticket_found_with_examples_that_validate_here_is_refused(call, tmp_path, reference_checkpoint):
    path = reference_checkpoint("prac")
    words = ["--init_dir", str(path), "--mask_dir", str(path)]
    one_sentence(call, "main_train", words, tmp_path, r"found with \d+ examples that validate here")


@pytest.mark.parametrize("value", [2**31 - 1, 10**30])
def test_no_threshold_is_above_never_learned(call, tmp_path, value):
    one_sentence(call, "main_PrAC_imp", ["--threshold", str(value)], tmp_path, f"below 2147483647, got {value}")


def test_flags_that_make_sets_have_no_say_over_a_given_one(call, tmp_path):
    np.save(tmp_path / "set.npy", np.arange(50))
    words = ["--prac_set", str(tmp_path / "set.npy"), "--threshold", "2", "--cep", "none"]
    one_sentence(call, "main_PrAC_imp", words, tmp_path, "--threshold and --cep")


@pytest.mark.parametrize("content", [b"\x93NUMPY", b"PK\x03\x04", b"", b"hello"])
@pytest.mark.parametrize("flag", ["--split_file", "--prac_set"])
def test_damaged_npy_files_are_one_sentence(call, tmp_path, flag, content):
    (tmp_path / "bad.npy").write_bytes(content)
    one_sentence(call, "main_PrAC_imp", [flag, str(tmp_path / "bad.npy")], tmp_path, r"bad\.npy cannot be read")


def test_overwrite_does_not_remove_what_the_run_reads(call, tmp_path):
    assert call("main_imp", *QUICK, "--pruning_times", 1, "--save_dir", tmp_path / "imp")[0] == 0
    ticket = tmp_path / "imp" / "1checkpoint.pth.tar"
    words = [*QUICK, "--save_dir", tmp_path / "imp", "--overwrite"]
    status, _, err = call("main_train", *words, "--init_dir", ticket, "--mask_dir", ticket)
    assert status == 2 and "would remove" in err and ticket.exists()
    status, _, err = call("main_train", *words)
    assert status == 2 and "a run of main_imp.py" in err and ticket.exists()


def test_a_dense_checkpoint_as_mask_trains_the_dense_network_and_says_so(call, tmp_path):
    assert call("main_train", *QUICK, "--save_dir", tmp_path / "a")[0] == 0
    dense = tmp_path / "a" / "checkpoint.pth.tar"
    status, out, _ = call("main_train", *QUICK, "--mask_dir", dense, "--save_dir", tmp_path / "b")
    assert status == 0 and "holds no mask" in out and "density 1.0000" in out


def test_seed_0_is_a_seed_and_seeds_differ(call, tmp_path):
    """The 2021 code ignored seed 0."""
    results = {}
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        torch.seed()
        assert call("main_train", *QUICK, "--seed", seed, "--save_dir", tmp_path / name)[0] == 0
        results[name] = read(tmp_path / name / "checkpoint.pth.tar")["result"]
    assert results["a"] == results["b"] != results["c"]


@needs_cuda
def test_the_three_jobs_run_on_a_gpu_and_their_tickets_on_a_cpu(call, tmp_path):
    common = [*QUICK, "--gpu", 0]
    search = [*common, "--pruning_times", 2, "--prune_type", "rewind_lt", "--rewind_epoch", 0]
    assert call("main_imp", *search, "--save_dir", tmp_path / "imp")[0] == 0
    assert call("main_PrAC_imp", *search, "--save_dir", tmp_path / "PrAC")[0] == 0
    ticket = tmp_path / "PrAC" / "2checkpoint.pth.tar"
    for name, device in {"gpu": common, "cpu": QUICK}.items():
        words = [*device, "--init_dir", ticket, "--mask_dir", ticket, "--save_dir", tmp_path / name]
        status, out, err = call("main_train", *words)
        assert status == 0 and "density 0.6396" in out, err


@needs_cuda
def test_on_a_gpu_a_run_that_goes_on_is_bit_exact_with_deterministic(call, tmp_path):
    search = [*QUICK, "--gpu", 0, "--deterministic", "--prune_type", "rewind_lt", "--rewind_epoch", 0]
    assert call("main_PrAC_imp", *search, "--pruning_times", 2, "--save_dir", tmp_path / "whole")[0] == 0
    for rounds in (1, 2):
        assert call("main_PrAC_imp", *search, "--pruning_times", rounds, "--save_dir", tmp_path / "parts")[0] == 0
    whole, parts = (read(tmp_path / name / "2checkpoint.pth.tar") for name in ("whole", "parts"))
    assert whole["sequence"].equal(parts["sequence"])
    assert all(value.equal(parts["state_dict"][name]) for name, value in whole["state_dict"].items())


def test_what_is_no_longer_bit_exact_is_said():
    here = {"device": "AMD EPYC, AVX512", "threads": 2, "deterministic": False}
    assert environment_changes(here, dict(here)) == []
    assert "threads was 1, is 2" in environment_changes(here | {"threads": 1}, here)[0]
    for name in ("NVIDIA H100, CUDA 13.2", "AMD Instinct MI300X, ROCm 6.4.43484"):
        gpu = here | {"device": name}
        assert "without --deterministic" in environment_changes(gpu, gpu)[0]
        assert environment_changes(gpu | {"deterministic": True}, gpu | {"deterministic": True}) == []


def test_shared_flags_are_declared_once():
    assert flags.parser("").flag_names <= train.parser().flag_names


@pytest.mark.parametrize(
    "module, kind, more",
    [
        (imp, ImpConfig, {}),
        (train, RetrainingConfig, {}),
        (prac_imp, PracConfig, {}),
        (prac_imp, PracConfig, {"no_early_stop": True}),
        (prac_imp, PracConfig, {"like_run": ROOT, "members": "ccs"}),
    ],
)
def test_the_dataclasses_have_the_defaults_of_the_flags(module, kind, more):
    """For those who call the suite from Python, with the rules for what was not given."""
    flags = [word for name, value in more.items() for word in (f"--{name}", *([] if value is True else [str(value)]))]
    config = module.read_config([*"--dataset digits --save_dir x".split(), *flags])
    whole = TrainingConfig(config.training.run)
    assert config == kind(whole, **more) and config.training == whole
