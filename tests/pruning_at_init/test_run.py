"""main_init.py, and what becomes of its tickets."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import main_imp
import pruner
from dataset import to_input
from lottery.checkpointing.checkpoint import read, split_state, split_ticket, write
from lottery.checkpointing.run_settings import RunConfig
from lottery.cli import init
from lottery.pruning_at_init.config import PruningAtInitConfig
from lottery.pruning_at_init.criteria import CRITERIA, Criterion
from lottery.pruning_at_init.run import read_inputs
from lottery.pruning_at_init.scores import SCORES, ScoringInputs, snip, synflow
from lottery.training.step import copy_weights
from tests.helpers import ROOT, assert_same, one_sentence
from utils import InputError
from verify import main as verify

DIGITS = "--dataset digits --arch tests.networks:tiny".split()
QUICK = "--epochs 1 --decreasing_lr 1 --batch_size 64".split()
TINY = 1368  # its prunable weights


def find(call, folder, *more):
    status, out, err = call("main_init", *DIGITS, *more, "--save_dir", folder)
    assert status == 0, err
    return read(folder / "checkpoint.pth.tar"), out


def mask_in(content):
    return split_state(content["state_dict"])[1]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_ticket_is_found_checked_and_trained(call, capsys, tmp_path, criterion):
    more = ["--iterations", 5] if criterion == "synflow" else []
    content, out = find(call, tmp_path / "ticket", "--criterion", criterion, "--density", 0.3, *more)
    file, kept = tmp_path / "ticket" / "checkpoint.pth.tar", round(0.3 * TINY)
    assert pruner.count(mask_in(content)) == kept
    assert (
        f"{criterion} keeps {kept} of 1,368 prunable weights of tests.networks:tiny, density {kept / TINY:.4f}" in out
    )

    capsys.readouterr()
    assert verify([str(file)]) == 0
    told = capsys.readouterr().out
    for law in "checksum", "finite weights", "exact density", "dropped weights", "starting weights":
        assert re.search(rf"{law} +holds", told), (law, told)
    checked = re.search(r"no example validates +holds", told) is not None
    assert checked == CRITERIA[criterion].looks_at_examples == ("sequence" in content)

    run = [*DIGITS, *QUICK, "--init_dir", file, "--mask_dir", file, "--save_dir", tmp_path / "run"]
    status, out, err = call("main_train", *run)
    assert status == 0 and f"density {kept / TINY:.4f}" in out, err
    trained = read(tmp_path / "run" / "checkpoint.pth.tar")
    assert pruner.same(mask_in(trained), mask_in(content))
    assert all(torch.equal(value, content["init_weight"][name]) for name, value in trained["init_weight"].items())


@pytest.mark.parametrize("criterion", ["snip", "synflow", "random"])
def test_a_pattern_keeps_the_highest_scores_of_each_group(call, capsys, tmp_path, criterion):
    """Those of one scoring: SynFlow's, too, whose hundred iterations would prune to other densities first."""
    content, out = find(call, tmp_path, "--criterion", criterion, "--pattern", "1:4")
    conv = mask_in(content)["network.3.weight"]  # the other layer has three inputs
    assert torch.equal(conv.view(16, 2, 4, 3, 3).sum(2), torch.ones(16, 2, 3, 3, dtype=torch.int64))
    assert mask_in(content)["network.0.weight"].all() and content["settings"]["iterations"] == 1
    assert "note: network.0.weight stays dense, since 4 does not divide its number of inputs" in out
    capsys.readouterr()
    assert verify([str(tmp_path / "checkpoint.pth.tar")]) == 0
    told = capsys.readouterr().out
    assert "1:4 in 1 of 1 layers that it fits" in told and re.search(r"exact density +holds", told)


def test_a_pattern_by_magnitude_is_that_of_the_starting_weights(call, tmp_path):
    content, _ = find(call, tmp_path, "--criterion", "magnitude", "--pattern", "2:4")
    weights = content["init_weight"]["network.3.weight"].abs()
    groups, kept = (value.movedim(1, -1).reshape(-1, 4) for value in (weights, mask_in(content)["network.3.weight"]))
    assert (groups.masked_fill(~kept, torch.inf).amin(1) > groups.masked_fill(kept, 0).amax(1)).all()


def test_recorded_settings_are_flags_that_decide_and_checksums_of_what_was_read(call, tmp_path):
    """Another key or value would keep tickets made before from being recognised."""
    content, _ = find(call, tmp_path, "--criterion", "snip", "--density", 0.3)
    settings = content["settings"]
    assert {name: value for name, value in settings.items() if not name.endswith("checksum")} == {
        "script": "main_init.py", "seed": 0, "dataset": "digits", "image_size": None, "val_fraction": 0.1,
        "no_augmentation": True, "arch": "tests.networks:tiny", "stem": "imagenet", "init_dir": False,
        "mask_dir": False, "normalization": "dataset", "data_in": "memory", "augmentation": "crop",
        "new_classifier": False, "weights": "starting", "criterion": "snip", "ranking": "global",
        "iterations": 1, "inverted": False, "prune_classifier": False, "allow_empty_layers": False, "density": 0.3,
        "sparsity": None, "like": False, "prac_set": False, "score_examples": None, "batch_size": 128, "kept": 410,
        "prunable": TINY, "step": 0, "pattern": None,
            "basis": "canonical", "basis_axes": None, "block": "weight",
    }  # fmt: skip
    assert {name for name in settings if name.endswith("checksum")} == {"data checksum", "split checksum"}
    assert type(settings["script"]) is str


def test_a_criterion_takes_an_entry_and_a_function(call, tmp_path, monkeypatch):
    entry = Criterion("by place", "its place in the layer", looks_at_examples=False, iterations=None)
    monkeypatch.setitem(CRITERIA, "place", entry)
    monkeypatch.setitem(SCORES, "place", lambda inputs: {
        name: torch.arange(layer.numel()).view(layer.shape) / 1 for name, layer in inputs.mask.items()
    })  # fmt: skip
    content, out = find(call, tmp_path, "--criterion", "place", "--density", 0.5, "--ranking", "uniform")
    assert "place keeps 684 of" in out
    for layer in mask_in(content).values():
        half = layer.numel() // 2
        assert layer.flatten()[half:].all() and not layer.flatten()[:half].any()


def test_a_configuration_says_once_how_many_weights_are_kept(tmp_path):
    run = RunConfig("main_init.py", tmp_path)
    for numbers in {}, {"density": 0.5, "sparsity": 0.5}:
        with pytest.raises(InputError, match="one of density, sparsity, like and pattern"):
            PruningAtInitConfig(run, "snip", **numbers)


def test_a_ticket_whose_mask_was_altered_is_found_out(call, capsys, tmp_path):
    content, _ = find(call, tmp_path, "--criterion", "magnitude", "--density", 0.3)
    mask = mask_in(content)
    name, layer = next(iter(mask.items()))
    layer[tuple(layer.nonzero()[0])] = False
    content["state_dict"][f"{name}_mask"] = layer.float()
    content["state_dict"][f"{name}_orig"] = content["init_weight"][name] * layer
    write(tmp_path / "checkpoint.pth.tar", content)
    assert verify([str(tmp_path / "checkpoint.pth.tar")]) == 1
    assert "it should be 410" in capsys.readouterr().out


def test_the_ticket_starts_where_a_search_with_this_seed_does(call, tmp_path):
    content, _ = find(call, tmp_path / "ticket", "--criterion", "random", "--density", 0.5, "--seed", 3)
    search = ["--pruning_times", 1, "--seed", 3, "--save_dir", tmp_path / "search"]
    assert call("main_imp", *DIGITS, *QUICK, *search)[0] == 0
    there = read(tmp_path / "search" / "1checkpoint.pth.tar")["init_weight"]
    assert all(torch.equal(value, there[name]) for name, value in content["init_weight"].items())
    assert content["init_step"] == 0


def test_the_mask_is_that_of_the_score_on_the_examples_that_train(call, tmp_path):
    """From data and flags to the mask, put together by hand."""
    words = ["--criterion", "snip", "--density", 0.2, "--batch_size", 100]
    content, _ = find(call, tmp_path, *words)
    inputs = inputs_for(words)
    context, indices = inputs.context, inputs.examples.indices
    assert torch.equal(indices.sort().values, context.split.train) and not torch.equal(indices, context.split.train)
    batches = [(to_input(context.train.images[part]), context.train.labels[part]) for part in indices.split(100)]
    whole = pruner.dense(context.model)
    scores = snip(ScoringInputs(context.model, copy_weights(context.model), whole, batches))
    expected = pruner.drop(whole, scores, TINY - round(0.2 * TINY))
    assert pruner.same(mask_in(content), expected)


def inputs_for(words):
    """What a command with these words prunes."""
    return read_inputs(init.read_config([*DIGITS, *map(str, words), "--gpu", "-1", "--save_dir", "x"]))


def test_a_seed_decides_and_another_decides_otherwise(call, tmp_path):
    snip_on_some = ["--criterion", "snip", "--density", 0.3, "--score_examples", 50]
    a, b, c = (
        find(call, tmp_path / name, *snip_on_some, "--seed", seed)[0] for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert pruner.same(mask_in(a), mask_in(b)) and torch.equal(a["sequence"], b["sequence"])
    assert not pruner.same(mask_in(a), mask_in(c)) and not torch.equal(a["sequence"], c["sequence"])
    assert len(a["sequence"]) == 50 and not np.isin(a["sequence"], a["validation"]).any()
    d, e = (find(call, tmp_path / name, "--criterion", "random", "--density", 0.3, "--seed", name)[0] for name in "01")
    assert not pruner.same(mask_in(d), mask_in(e))


def test_another_set_gives_another_mask(call, tmp_path):
    train = find(call, tmp_path / "all", "--criterion", "snip", "--density", 0.3)[0]["sequence"].numpy()
    np.save(tmp_path / "a.npy", train[:60])
    np.save(tmp_path / "b.npy", train[60:120])
    a, b = (
        find(call, tmp_path / name, "--criterion", "snip", "--density", 0.3, "--prac_set", tmp_path / f"{name}.npy")[0]
        for name in "ab"
    )
    assert a["sequence"].tolist() == sorted(train[:60]) and not pruner.same(mask_in(a), mask_in(b))
    assert a["settings"]["PrAC set of round 0"] != b["settings"]["PrAC set of round 0"]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    words = ["--pruning_times", "2", "--prune_type", "rewind_lt", "--rewind_iteration", "10", "--gpu", "-1"]
    assert main_imp.main([*DIGITS, *QUICK, *words, "--save_dir", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("name", ["2checkpoint.pth.tar", "iteration_10_rewind_weight.pt"])
def test_pruning_at_the_rewinding_weights_as_many_as_a_ticket(search, call, tmp_path, name):
    ticket = search / "2checkpoint.pth.tar"
    more = ["--criterion", "magnitude", "--like", ticket, "--init_dir", search / name]
    content, _ = find(call, tmp_path / "ticket", *more)
    rewound = read(search / "iteration_10_rewind_weight.pt")
    assert all(torch.equal(value, rewound[name]) for name, value in content["init_weight"].items())
    mask = mask_in(content)
    assert pruner.count(mask) == pruner.count(mask_in(read(ticket))) == content["settings"]["kept"]
    threshold = min(rewound[name][layer].abs().min() for name, layer in mask.items())
    assert all((rewound[name][~layer].abs() <= threshold).all() for name, layer in mask.items())
    assert content["source"]["file"] == str(search / name)
    if name.startswith("2"):
        assert content["init_step"] == 10 and "sequence" in content
    assert verify([str(tmp_path / "ticket" / "checkpoint.pth.tar")]) == 0


@pytest.mark.parametrize("criterion", ["magnitude", "snip", "grasp"])
def test_inverted_keeps_what_the_criterion_would_drop(call, tmp_path, criterion):
    """At one iteration and densities that add up to one, the two masks have every weight once."""
    words = ["--criterion", criterion, *(["--score_examples", 60] if CRITERIA[criterion].looks_at_examples else [])]
    plain, _ = find(call, tmp_path / "plain", *words, "--density", 0.7)
    worst, out = find(call, tmp_path / "worst", *words, "--density", 0.3, "--inverted")
    assert f"{criterion}, inverted, keeps 410 of" in out and worst["settings"]["inverted"] is True
    assert all(torch.equal(mask_in(worst)[name], ~layer) for name, layer in mask_in(plain).items())
    assert verify([str(tmp_path / "worst" / "checkpoint.pth.tar")]) == 0


def test_every_iteration_is_inverted(call, tmp_path):
    """Of what is left those with the least flow are kept again: from scores to mask, put together by hand."""
    words = "--criterion synflow --density 0.4 --iterations 3 --ranking uniform --inverted".split()
    content, _ = find(call, tmp_path, *words)
    context = inputs_for(words).context
    weights, mask = copy_weights(context.model), pruner.dense(context.model)
    batches = [(to_input(context.train.images[:2]), context.train.labels[:2])]
    for part in (0.4 ** (1 / 3), 0.4 ** (2 / 3), 0.4):
        scores = synflow(ScoringInputs(context.model, weights, mask, batches))
        for name, layer in mask.items():
            lowest = scores[name][layer].sort().values[: round(part * layer.numel())]
            mask[name] = layer & (scores[name] <= lowest[-1])
    found = mask_in(content)
    assert all(abs(int(layer.sum()) - int(found[name].sum())) <= 1 for name, layer in mask.items())
    assert sum(int((layer ^ found[name]).sum()) for name, layer in mask.items()) <= 4  # roundings of three iterations


def test_trained_weights_scored_by_magnitude_are_the_ticket_of_a_pruning(search, call, tmp_path):
    """What main_imp.py prunes after its first round; the ticket starts from these weights, and can be fine-tuned."""
    dense, ticket = search / "0checkpoint.pth.tar", search / "1checkpoint.pth.tar"
    words = ["--criterion", "magnitude", "--like", ticket, "--init_dir", dense, "--weights", "trained"]
    content, _ = find(call, tmp_path / "ticket", *words)
    file = tmp_path / "ticket" / "checkpoint.pth.tar"
    assert pruner.same(mask_in(content), mask_in(read(ticket)))
    assert all(torch.equal(value, content["init_weight"][name]) for name, value in read(dense)["state_dict"].items())
    assert content["init_step"] == 10 and content["settings"]["weights"] == "trained"
    assert verify([str(file)]) == 0
    tune = [*DIGITS, *QUICK, "--rule", "fine_tuning", "--mask_dir"]
    for name, (start, mask) in {"made": (file, file), "pruned": (dense, ticket)}.items():
        assert call("main_train", *tune, mask, "--init_dir", start, "--save_dir", tmp_path / name)[0] == 0
    made, pruned = (read(tmp_path / name / "checkpoint.pth.tar")["state_dict"] for name in ("made", "pruned"))
    assert all(torch.equal(value, pruned[name]) for name, value in made.items())
    rewound = [*DIGITS, *QUICK, "--init_dir", file, "--mask_dir", file, "--save_dir", tmp_path / "rewound"]
    for rule in (["--rewind_lr"], ["--rule", "weight_rewinding"]):
        status, _, err = call("main_train", *rewound, *rule)
        assert status == 2 and "has trained weights to start from, and not those of step t" in err


def test_snip_of_trained_weights_is_another_mask_than_of_starting_ones(search, call, tmp_path):
    words = ["--criterion", "snip", "--density", 0.3, "--init_dir", search / "0checkpoint.pth.tar"]
    starting, _ = find(call, tmp_path / "starting", *words)
    trained, _ = find(call, tmp_path / "trained", *words, "--weights", "trained")
    assert not pruner.same(mask_in(starting), mask_in(trained))
    status, _, err = call("main_init", *DIGITS, *words, "--weights", "trained", "--save_dir", tmp_path / "starting")
    assert status == 2 and "weights was starting, is trained" in err


def test_trained_weights_of_a_pruned_network_are_refused(search, call, tmp_path):
    words = [*DIGITS, *SNIP.split(), "--weights", "trained", "--init_dir"]
    one_sentence(call, "main_init", [*words, str(search / "1checkpoint.pth.tar")], tmp_path, "had been dropped before")
    one_sentence(call, "main_init", [*words, str(search / "2checkpoint.pth.tar")], tmp_path, "holds no trained weights")


def test_a_ticket_from_before_the_flags_came_is_none_of_theirs(call, tmp_path):
    content, _ = find(call, tmp_path, "--criterion", "magnitude", "--density", 0.3)
    settings = {name: value for name, value in content["settings"].items() if name not in ("inverted", "weights")}
    write(tmp_path / "checkpoint.pth.tar", content | {"settings": settings})
    words = [*DIGITS, "--criterion", "magnitude", "--density", 0.3, "--save_dir", tmp_path]
    assert call("main_init", *words)[0] == 0
    status, _, err = call("main_init", *words, "--inverted")
    assert status == 2 and "inverted was off, is on" in err


def test_sparsity_is_what_density_leaves(call, tmp_path):
    a, _ = find(call, tmp_path / "a", "--criterion", "magnitude", "--sparsity", 0.7)
    assert pruner.count(mask_in(a)) == TINY - round(0.7 * TINY)


def test_the_classifier_is_pruned_on_request(call, tmp_path):
    content, _ = find(
        call, tmp_path, "--criterion", "synflow", "--density", 0.3, "--iterations", 3, "--prune_classifier"
    )
    assert pruner.size(mask_in(content)) == TINY + 160 and pruner.count(mask_in(content)) == round(0.3 * (TINY + 160))


def test_synflow_saves_layers_that_one_shot_would_empty(call, tmp_path):
    """At 6 weights one shot leaves none of one layer; flow through a layer that gets thin grows, and saves it."""
    words = ["--criterion", "synflow", "--density", 6 / TINY]
    one_sentence(call, "main_init", [*DIGITS, *map(str, [*words, "--iterations", 1])], tmp_path, "leaves no weight of")
    content, _ = find(call, tmp_path / "many", *words)
    assert pruner.count(mask_in(content)) == 6 and not pruner.empty_layers(mask_in(content))
    assert content["settings"]["iterations"] == 100


def test_an_empty_layer_is_named_unless_permitted(call, tmp_path):
    words = ["--criterion", "magnitude", "--density", "0.002"]
    one_sentence(
        call, "main_init", [*DIGITS, *words], tmp_path,
        r"--criterion magnitude leaves no weight of network\.\d\.weight, at 3 weights: .*--allow_empty_layers",
    )  # fmt: skip
    content, _ = find(call, tmp_path / "ticket", *words, "--allow_empty_layers")
    assert pruner.empty_layers(mask_in(content)) and pruner.count(mask_in(content)) == 3


def test_the_same_command_again_changes_nothing_and_another_one_is_refused(call, tmp_path):
    words = [*DIGITS, "--criterion", "random", "--density", 0.3, "--save_dir", tmp_path]
    first, place = call("main_init", *words), (tmp_path / "checkpoint.pth.tar").stat().st_ino
    assert call("main_init", *words) == first and first[0] == 0
    assert (tmp_path / "checkpoint.pth.tar").stat().st_ino == place, "not even written again"
    before = read(tmp_path / "checkpoint.pth.tar")
    assert call("main_init", *words, "--deterministic")[0] == 0
    after = read(tmp_path / "checkpoint.pth.tar")
    assert after["command"].endswith("--deterministic --gpu -1"), "a study goes by the newest command"
    assert_same(*({name: each[name] for name in each if name != "command"} for each in (before, after)), "all else")
    status, _, err = call("main_init", *words, "--criterion", "magnitude")
    assert status == 2 and "criterion was random, is magnitude" in err
    assert call("main_init", *words, "--criterion", "magnitude", "--overwrite")[0] == 0
    assert read(tmp_path / "checkpoint.pth.tar")["settings"]["criterion"] == "magnitude"


SNIP = "--criterion snip --density 0.3"
BAD = [
    ("--density 0.3", "--criterion"),
    ("--criterion snap --density 0.3", "snip.*snap|snap.*snip"),
    ("--criterion snip", "--density --sparsity --like"),
    (f"{SNIP} --sparsity 0.3", "not allowed with"),
    (f"{SNIP} --pattern 2:4", "not allowed with"),
    ("--criterion snip --pattern 2:4 --ranking erk", "by themselves, --ranking erk says otherwise"),
    ("--criterion synflow --pattern 2:4 --iterations 5", "--iterations 5 says otherwise"),
    ("--criterion snip --pattern 2:32", "--pattern 2:32 fits no layer that is pruned"),
    ("--criterion snip --density 1", "between 0 and 1, both excluded, got 1"),
    ("--criterion snip --density 0.0001", r"--density 0\.0001 keeps 0 of 1,368 prunable weights: that is no ticket"),
    ("--criterion snip --sparsity 0.0001", "keeps 1,368 of 1,368 prunable weights: that is no ticket"),
    ("--criterion snip --density 0.001", "keeps 1 of 1,368 prunable weights, fewer than there are layers, 2"),
    ("--criterion snip --like nowhere", "--like nowhere does not exist"),
    (f"{SNIP} --ranking layers", "global.*uniform.*erk|layers"),
    (f"{SNIP} --iterations 0", "from 1 up, got 0"),
    (
        "--criterion magnitude --density 0.3 --iterations 5",
        "scores of magnitude do not depend on which",
    ),
    (f"{SNIP} --score_examples 1", "at least 2.*got 1"),
    (f"{SNIP} --score_examples 1294", "only 1293 examples train"),
    (f"{SNIP} --score_examples 10 --prac_set README.md", "give one of them"),
    ("--criterion synflow --density 0.3 --score_examples 10", "--score_examples: --criterion synflow looks at no"),
    ("--criterion random --density 0.3 --prac_set README.md", "--prac_set: --criterion random looks at no"),
    (f"{SNIP} --prac_set .", "is a directory: give the checkpoint of one of its rounds"),
    (f"{SNIP} --prac_set README.md", "README.md is no checkpoint"),
    (f"{SNIP} --init_dir README.md", "README.md is no checkpoint"),
    (f"{SNIP} --weights trained", "--weights trained are those of --init_dir: give it"),
    (f"{SNIP} --weights best", "starting.*trained"),
    ("--criterion random --density 0.3 --inverted", "--inverted: low scores of random mean nothing"),
    (f"{SNIP} --batch_size 1", "from 2 up"),
    (f"{SNIP} --arch tests.networks:only_linear", "nothing to prune"),
    (f"{SNIP} --arch resnet9", "res20s.*resnet9"),
    (f"{SNIP} --epochs 3", "--epochs"),
]


@pytest.mark.parametrize("words, message", BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_sentence(call, tmp_path, words, message):
    one_sentence(call, "main_init", [*DIGITS, *words.split()], tmp_path, message)


def test_examples_that_validate_are_refused(call, tmp_path):
    validation = find(call, tmp_path / "ticket", "--criterion", "random", "--density", 0.3)[0]["validation"].numpy()
    np.save(tmp_path / "set.npy", validation[:5])
    words = [*DIGITS, *SNIP.split(), "--prac_set", str(tmp_path / "set.npy")]
    one_sentence(call, "main_init", words, tmp_path, "5 of 5 examples outside this run's training split")


def test_a_ticket_of_more_layers_or_another_network_is_nothing_to_be_like(call, tmp_path):
    like = ["--like", str(tmp_path / "ticket" / "checkpoint.pth.tar"), "--criterion", "random"]
    find(call, tmp_path / "ticket", "--criterion", "random", "--density", 0.3, "--prune_classifier")
    one_sentence(call, "main_init", [*DIGITS, *like], tmp_path, r"a mask for network\.8\.weight.*--prune_classifier")
    one_sentence(call, "main_init", [*DIGITS, "--arch", "lenet300", *like], tmp_path, "belongs to another network")
    content, _ = find(call, tmp_path / "same", *like, "--prune_classifier")
    assert pruner.count(mask_in(content)) == pruner.count(mask_in(read(tmp_path / "ticket" / "checkpoint.pth.tar")))


def test_a_ticket_of_prune_also_is_nothing_to_be_like(call, tmp_path):
    words = ["--dataset", "digits", "--arch", "tests.networks:vit_shallow"]
    search = [*words, *QUICK, "--pruning_times", 2, "--prune_also", "all", "--save_dir", tmp_path / "search"]
    assert call("main_imp", *search)[0] == 0
    like = [*words, "--criterion", "random", "--like", str(tmp_path / "search" / "1checkpoint.pth.tar")]
    message = r"in_proj_weight, which is not pruned here: only weights of Conv2d and Linear layers are"
    one_sentence(call, "main_init", like, tmp_path, message)


@pytest.mark.parametrize("value, message", [(float("nan"), "not finite"), (0.0, "the score 0")])
def test_scores_that_rank_nothing_are_refused(call, tmp_path, monkeypatch, value, message):
    monkeypatch.setitem(
        SCORES, "snip", lambda inputs: {name: torch.full(layer.shape, value) for name, layer in inputs.mask.items()}
    )
    one_sentence(call, "main_init", [*DIGITS, *SNIP.split()], tmp_path, message)


def test_flags_are_checked_before_torch_is_imported():
    code = (
        "import sys, main_init as m; s = m.main(['--save_dir', 'x', '--criterion', 'snip', '--density', '2']);"
        "assert s == 2, s; assert not {'torch', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


# --- networks of the user's own ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_transformers_are_scored(call, tmp_path, criterion):
    words = ["--dataset", "digits", "--arch", "tests.networks:vit_shallow", "--score_examples", 20, "--density", 0.5]
    status, out, err = call("main_init", *words, "--criterion", criterion, "--save_dir", tmp_path)
    assert status == 0 and "weights stay dense" in out, err


@pytest.mark.parametrize("arch", ["tests.networks:group_normed", "tests.networks:vit_shallow"])
def test_synflow_is_not_for_networks_that_give_less_where_they_get_more(call, tmp_path, arch):
    words = ["--dataset", "digits", "--arch", arch, "--density", 0.5]
    status, _, err = call("main_init", *words, "--criterion", "synflow", "--save_dir", tmp_path / "out")
    assert status == 2 and re.search(
        rf"synflow gives [\d,]+ of [\d,]+ weights of {arch} scores below 0, which mean", err
    )
    assert not list((tmp_path / "out").glob("*.tar"))


def test_a_network_that_cannot_be_scored_is_one_sentence(call, tmp_path):
    words = ["--dataset", "digits", "--arch", "tests.networks:flash", "--score_examples", 20, "--density", 0.5]
    status, _, err = call("main_init", *words, "--criterion", "grasp", "--save_dir", tmp_path)
    assert status == 2 and re.search(
        "--criterion grasp cannot score tests.networks:flash: RuntimeError: derivative for", err
    )
    assert call("main_init", *words, "--criterion", "snip", "--save_dir", tmp_path)[0] == 0


@pytest.mark.parametrize("criterion", CRITERIA)
def test_whole_filters_are_kept_by_the_scores_of_all_their_weights(call, capsys, tmp_path, criterion):
    more = ["--iterations", 5] if criterion == "synflow" else []
    content, out = find(call, tmp_path, "--criterion", criterion, "--block", "filter", "--density", 0.5, *more)
    assert re.search(rf"{criterion} keeps 12 of 24 filters of tests.networks:tiny, density 0.5000", out), out
    mask, weights = mask_in(content), content["state_dict"]
    kept = {name: layer.flatten(1).any(1) for name, layer in mask.items()}
    assert all(torch.equal(kept[name], layer.flatten(1).all(1)) for name, layer in mask.items())
    assert sum(int(rows.sum()) for rows in kept.values()) == 12
    for conv, norm in (("network.0", "network.1"), ("network.3", "network.4")):
        assert not weights[f"{norm}.weight"][~kept[f"{conv}.weight"]].any(), "a pruned filter emits nothing"
    if criterion == "magnitude":
        means = {name: content["init_weight"][name].square().flatten(1).mean(1) for name in mask}
        assert min(means[name][rows].min() for name, rows in kept.items() if rows.any()) >= max(
            means[name][~rows].max() for name, rows in kept.items() if not rows.all()
        )
    capsys.readouterr()
    assert verify([str(tmp_path / "checkpoint.pth.tar")]) == 0
    assert "12 of 24 rows kept" in capsys.readouterr().out


def test_rows_of_coefficients_are_scored_by_the_sum_of_theirs(call, tmp_path):
    flags = "--criterion snip --basis dct --block row --ranking uniform --density 0.5".split()
    content, out = find(call, tmp_path / "rows", *flags)
    assert "keeps 12 of 24 rows (dct, rows)" in out
    mask = split_ticket(content["state_dict"])[1]
    assert [int(layer.flatten(1).all(1).sum()) for layer in mask.values()] == [4, 8]
    config = init.read_config([*DIGITS, *flags, "--save_dir", str(tmp_path / "again")])
    inputs = read_inputs(config)
    given = ScoringInputs(inputs.context.model, inputs.loaded.ticket.weights, inputs.dense, inputs.batches)
    scores = snip(given._replace(basis=inputs.basis.like(given.weights)))
    for name, layer in mask.items():
        sums = scores[name].flatten(1).abs().sum(1)
        assert torch.equal(sums.topk(len(sums) // 2).indices.sort().values, layer.flatten(1).all(1).nonzero()[:, 0])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--criterion snip --block filter --ranking erk --density 0.5", "give --ranking global or uniform"),
        ("--criterion snip --block filter --density 0.01", "keeps 0 of 24 prunable filters"),
        ("--criterion synflow --basis dct --block row --density 0.5", "omit --basis dct"),
        ("--criterion snip --block row --density 0.5", "give a --basis that transforms out"),
    ],
)
def test_blocks_that_cannot_be_scored_are_refused(call, tmp_path, flags, message):
    one_sentence(call, "main_init", [*DIGITS, *flags.split()], tmp_path, message)
