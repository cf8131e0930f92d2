"""The CUDA path without a GPU: every script in its modes, on tensors that obey a GPU's rules.

No operands on two devices, no wait for the device within a step, nothing baked into a graph; and the records say that
the step was one CUDA graph and that batch norm was folded.
"""

import json
import re
import runpy
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import cases, digits, footprint, hardware, plain, prac_set, same_training
from benchmarks.contest import AUTHORS
from dataset import Images
from lottery.checkpointing.checkpoint import read
from lottery.training.loop import fit
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights
from models.custom import UserNetwork
from pruner import Ticket
from tests import networks
from tests.helpers import ROOT, Tiny, pruned_ticket, run_in_process
from tests.pretend_gpu import CUDA, pretended_gpu
from tests.readers.helpers import save_image

DATA = "--dataset digits --arch tests.networks:tiny --batch_size 256 --gpu 0"
QUICK = f"{DATA} --epochs 2 --decreasing_lr 1"
SEARCH = f"{QUICK} --pruning_times 2"
REWIND = f"{SEARCH} --prune_type rewind_lt --rewind_epoch 0"


def on_gpu(script, flags, *more):
    """Run a script to a good end; what it printed."""
    with pretended_gpu():
        status, out, err = run_in_process(import_module(script), *flags.split(), *more)
    assert status == 0, err
    return out


def check_fast(folder):
    """Every network of this run was trained by graphs and evaluated with batch norm folded."""
    rows = json.loads((folder / "summary.json").read_text())["rounds"]
    assert rows and {(row["step"], row["step_fallback"], row["folded"]) for row in rows} == {("graph", None, True)}


def run(script, flags, folder):
    on_gpu(script, flags, "--save_dir", folder)
    check_fast(folder)
    return folder


@pytest.fixture(scope="module")
def prac(tmp_path_factory):
    """A PrAC search, which others follow or take their ticket and sets from."""
    return run("main_PrAC_imp", f"{REWIND} --save_interval 0", tmp_path_factory.mktemp("prac"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return run("main_train", QUICK, tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def ticket(prac):
    file = prac / "2checkpoint.pth.tar"
    return f" --init_dir {file} --mask_dir {file}"


def test_from_a_shell(tmp_path, monkeypatch, capsys):
    words = f"main_train {QUICK} --epochs 1 --save_dir {tmp_path}"
    monkeypatch.setattr(sys, "argv", ["pretend_gpu.py", *words.split()])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / "tests" / "pretend_gpu.py"), run_name="__main__")
    assert re.search(r"\d+ waits, \d+ launches", capsys.readouterr().err)
    check_fast(tmp_path)


# --- every script -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        "--prune_type lt",
        "--prune_type pt --between continue",
        "--prune_type rewind_lt --rewind_epoch 0 --random_prune",
        "--prune_type rewind_lt --rewind_epoch 0 --eb_eps 0.5 --eb_interval steps --eb_arm none",
        "--prune_type rewind_lt --rewind_iteration 3 --rewind_lr --precision bf16 --prune_classifier --deterministic",
    ],
)
def test_a_search_and_going_on_with_it(tmp_path, flags):
    run("main_imp", f"{QUICK} --pruning_times 1 {flags}", tmp_path)
    run("main_imp", f"{QUICK} --pruning_times 2 {flags}", tmp_path)


@pytest.mark.parametrize("script", ["main_imp", "main_PrAC_imp"])
def test_a_search_to_a_pattern(tmp_path, script):
    stop = "--eb_eps 0.5 --eb_interval steps --eb_arm none"
    run(script, f"{QUICK} --prune_type rewind_lt --rewind_epoch 0 --pattern 2:4 {stop}", tmp_path)


@pytest.mark.parametrize("flags", ["--basis dct", "--basis svd --block row", "--block filter"])
def test_a_search_in_another_basis_and_a_ticket_of_it(tmp_path, flags):
    stop = "--eb_eps 0.5 --eb_interval steps --eb_arm none"
    run("main_PrAC_imp", f"{REWIND} {flags} {stop}", tmp_path / "search")
    file = tmp_path / "search" / "2checkpoint.pth.tar"
    run("main_train", f"{QUICK} --init_dir {file} --mask_dir {file}", tmp_path / "train")


@pytest.mark.parametrize("arch", ["timm:vit_tiny_patch16_224,patch_size=4,depth=1,embed_dim=12,num_heads=2",
                                  "tests.networks:half_frozen", "tests.networks:auxiliary",
                                  "tests.networks:vit_shallow"])  # fmt: skip
def test_a_network_of_any_kind_from_pretrained_weights(tmp_path, arch):
    flags = f"{REWIND} --pruning_times 1 --normalization imagenet".replace("tests.networks:tiny", arch)
    on_gpu("main_imp", flags, "--save_dir", tmp_path / "first")
    flags += " --prune_also all" * ("vit_shallow" in arch)
    flags += f" --weights {tmp_path / 'first' / '0checkpoint.pth.tar'}"
    on_gpu("main_imp", flags, "--save_dir", tmp_path / "second")
    rows = json.loads((tmp_path / "second" / "summary.json").read_text())["rounds"]
    assert rows and {(row["step"], row["step_fallback"]) for row in rows} == {("graph", None)}


@pytest.mark.parametrize("sets", ["constent trained", "random trained", "zero_out pruned", "zero_out none"])
def test_a_search_for_prac_sets(tmp_path, sets):
    run("main_PrAC_imp", f"{REWIND} --data_prune {sets.replace(' ', ' --cep ')}", tmp_path)


def test_batches_in_shards_some_examples_left_out(tmp_path):
    run("main_train", f"{QUICK} --shards 4 --batch_selection infobatch", tmp_path)


def test_a_network_that_draws_in_shards(tmp_path):
    """Each shard has a seed of its own, which a recording cannot set."""
    flags = f"{QUICK} --shards 2".replace("tests.networks:tiny", "tests.ranks:faulty")
    said = on_gpu("main_train", flags, "--save_dir", tmp_path)
    assert "each shard draws random numbers by a seed of its own, which a recorded step would not set" in said
    (row,) = json.loads((tmp_path / "summary.json").read_text())["rounds"]
    assert row["step"] == "plain" and row["folded"]


@pytest.mark.parametrize("recipe", ["--nesterov --schedule cosine", "--optimizer adam --label_smoothing 0.1"])
def test_a_recipe_and_going_on_with_it(tmp_path, recipe):
    run("main_imp", f"{REWIND} --pruning_times 1 --rewind_lr {recipe}", tmp_path / "imp")
    run("main_imp", f"{REWIND} --pruning_times 2 --rewind_lr {recipe}", tmp_path / "imp")
    run("main_train", f"{QUICK} --precision bf16 {recipe}", tmp_path / "train")


def test_a_prac_search_goes_on(prac):
    run("main_PrAC_imp", f"{REWIND} --save_interval 0 --pruning_times 3", prac)


@pytest.mark.parametrize("script, flags", [("main_imp", "--prac_set"), ("main_imp", "--steps_of")] + [
    ("main_PrAC_imp", f"--members {members} --like_run") for members in ("random", "easy", "el2n", "cet", "cep", "ccs")
])  # fmt: skip
def test_a_search_that_follows_another(tmp_path, prac, script, flags):
    run(script, f"{REWIND} {flags} {prac}", tmp_path)


@pytest.mark.parametrize("script, flags", [("main_PrAC_imp", REWIND), ("main_imp", f"{SEARCH} --prune_type lt")])
def test_a_search_from_a_ticket(tmp_path, ticket, script, flags):
    run(script, flags + ticket, tmp_path)


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--new_classifier --precision bf16",
        *(f"--control {control}" for control in ("reinit", "random_mask", "one_shot", "dense")),
    ],
)
def test_a_ticket_is_trained(tmp_path, ticket, flags):
    run("main_train", f"{QUICK} {flags}{ticket}", tmp_path)
    run("main_train", f"{QUICK} {flags}{ticket}", tmp_path)  # its result again


@pytest.mark.parametrize(
    "flags",
    [
        "--method gmp --update_from 0",
        "--method gmp --update_from 0 --optimizer adam --batch_selection infobatch",
        "--method set --update_every 4 --drop sign",
        "--method rigl --update_every 4 --optimizer adam",
        "--method rigl --update_every 4 --batch_selection infobatch",
        "--method acdc",
        "--method dpf --update_every 1 --update_until 1 --lr 1",
    ],
)
def test_a_mask_that_changes_while_it_trains(tmp_path, flags):
    """In the buffers of the captured step: what it computes is what the plain one does."""
    for way in ("auto", "off"):
        words = f"{QUICK} --density 0.2 --compile {way} {flags}"
        on_gpu("main_dst", words, "--save_dir", tmp_path / way)
    found, plain = (read(tmp_path / way / "checkpoint.pth.tar") for way in ("auto", "off"))
    assert [row["step"] for row in found["history"]] == ["graph"] * len(found["history"])
    assert all(torch.equal(value, plain["state_dict"][name]) for name, value in found["state_dict"].items())


@pytest.mark.parametrize("rule", ["weight_rewinding", "lr_rewinding", "fine_tuning"])
def test_a_ticket_is_retrained(tmp_path, prac, rule):
    files = f"--init_dir {prac}/1checkpoint.pth.tar --mask_dir {prac}/2checkpoint.pth.tar"
    run("main_train", f"{QUICK} {files} --rule {rule}", tmp_path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 60 images of many sizes for training and 9 for testing."""
    root = tmp_path_factory.mktemp("photos")
    for i in range(69):
        part = "train" if i < 60 else "val"
        save_image(root / part / f"n{i % 3}" / f"{i:02}.JPEG", size=(14 + i % 5, 13 + i % 7), seed=i)
    return root


@pytest.mark.parametrize(
    "script, flags, augmentation, name",
    [
        ("main_PrAC_imp", f"{REWIND} --pruning_times 1", "resized_crop", "0checkpoint"),
        ("main_train", QUICK, "crop", "checkpoint"),
    ],
)
def test_images_that_stay_in_their_files(tmp_path, photos, script, flags, augmentation, name):
    """Each batch is written into the buffer that the captured step reads."""
    files = f"--dataset imagenet --data {photos} --image_size 12 --workers 0 --augmentation {augmentation}"
    words = f"{flags} {files} --batch_size 18"
    run(script, words, tmp_path / "auto")
    on_gpu(script, f"{words} --compile off", "--save_dir", tmp_path / "off")
    found, plain = (read(tmp_path / way / f"{name}.pth.tar") for way in ("auto", "off"))
    assert all(torch.equal(value, plain["state_dict"][name]) for name, value in found["state_dict"].items())


def test_a_training_without_validation(tmp_path):
    run("main_train", f"{QUICK} --val_fraction 0 --no_augmentation --precision fp32", tmp_path)


@pytest.mark.parametrize(
    "flags",
    [
        *(f"--density 0.5 --criterion {criterion}" for criterion in ("random", "magnitude", "snip", "grasp")),
        "--density 0.5 --criterion synflow --iterations 5",
        "--pattern 2:4 --criterion magnitude",
        "--density 0.5 --criterion grasp --iterations 2 --basis haar --basis_axes in kernel",
        "--density 0.5 --criterion synflow --iterations 2 --block filter --allow_empty_layers",
        "--density 0.5 --criterion snip --iterations 3 --inverted --prac_set {prac}/1checkpoint.pth.tar",
        "--criterion snip --weights trained --ranking erk --init_dir {dense}/model_SA_best.pth.tar "
        "--like {prac}/1checkpoint.pth.tar",
    ],
)
def test_a_ticket_before_training(tmp_path, prac, dense, flags):
    on_gpu("main_init", f"{DATA} {flags.format(prac=prac, dense=dense)}", "--save_dir", tmp_path)


def test_stability_and_robustness(tmp_path, ticket, dense, prac):
    stability = f"{QUICK}{ticket} --points 3 --statistics_examples 128 --save_dir {tmp_path}"
    on_gpu("main_stability", stability)
    on_gpu("main_stability", stability)
    check_fast(tmp_path / "copy_1")
    on_gpu("main_robustness", f"{dense} {prac} --examples 32 --pgd_steps 2 --gpu 0")


@pytest.mark.parametrize("target", ["halves", "classes"])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_greedy_selection_of_neurons(tmp_path, loss, target):
    size = "--hidden 20 --examples 200 --iterations 20 --prune_at 0,10 --neurons 5 --fine_tune 5 --gpu 0"
    flags = f"--dataset digits {size} --loss {loss} --target {target} --save_dir {tmp_path}"
    on_gpu("main_greedy", flags)
    on_gpu("main_greedy", flags)


FEW = "--fine_tune_epochs 1 --select_examples 32 --select_batch 32"


@pytest.mark.parametrize(
    "flags",
    [
        f"{QUICK} --keep 0.5 --prune_at 0,5 --baselines random,magnitude",
        f"{QUICK} --keep 0.5 --memory 1 --candidates 3 --channel_weights ones",
    ],
)
def test_greedy_selection_of_channels(tmp_path, flags):
    on_gpu("main_channels", f"{flags} {FEW} --save_dir {tmp_path}")
    on_gpu("main_channels", f"{flags} {FEW} --save_dir {tmp_path}")


def test_channels_of_a_trained_network(tmp_path, dense):
    given = f"--init_dir {dense}/model_SA_best.pth.tar --export {tmp_path}/small.pt2 --save_dir {tmp_path}/run"
    on_gpu("main_channels", f"{DATA} {FEW} {given} --top1_tol 0.3 --layer_tuning 0.2 --repeats")


# --- the benchmarks ---------------------------------------------------------------------------------------------------


class Sender:
    """The end of a pipe, for a child's work that is done in this process."""

    def send(self, value):
        self.value = value


def in_this_process(start_method, ask, *arguments):
    sender = Sender()
    ask(*arguments, sender)
    return sender.value


def test_the_benchmark_of_the_suite(monkeypatch, tmp_path):
    monkeypatch.setattr(prac_set.random_evidence, "__defaults__", (3, 100))
    monkeypatch.setattr(plain, "EXAMPLES", 100)
    monkeypatch.setattr(footprint, "EXAMPLES", 8)
    monkeypatch.setattr(footprint, "answer_of_child", in_this_process)
    monkeypatch.setattr(hardware, "rates", lambda *_: {name: {"per_second": 1e9} for name in RATES})
    monkeypatch.setitem(cases.NETWORKS, "tiny", cases.Case("tests.networks:tiny"))
    flags = "--networks tiny --precisions tf32 --examples 16 --repeats 1 --workers 0 --gpu 0 --output"
    on_gpu("benchmarks.run", flags, tmp_path / "speed.json")
    measured = json.loads((tmp_path / "speed.json").read_text())["networks"]["tiny"]
    who = {"plain", AUTHORS, "ours tf32", "ours tf32, eager"}
    assert set(measured["memory"]) == who < set(measured["training"])


RATES = ("copy", "matrix product tf32", "convolution tf32")


def test_the_device_is_measured_on_itself():
    with pretended_gpu() as gpu:
        for task in (hardware.matrix_task(8, "tf32", CUDA), hardware.convolution_task(1, "bf16", CUDA)):
            task()
        hardware.copy_task(8, CUDA)()
    assert gpu.launches["mm"] and gpu.launches["convolution"] and gpu.launches["copy_"]


def test_the_benchmark_of_same_trainings(monkeypatch):
    monkeypatch.setattr(same_training, "STEPS", 2)
    monkeypatch.setattr(same_training, "SHOWN", (1, 2))
    monkeypatch.setattr(same_training, "BATCHES", (512,))
    monkeypatch.setattr(digits, "ARCH", "tests.networks:tiny")
    on_gpu("benchmarks.same_training", "--seeds 0 --loss_seeds 1 --variants straightforward-fp32,ours-tf32 --gpu 0")


def test_the_benchmark_of_selection():
    size = "--examples 100 --hidden 50 --neurons 5 --iterations 5 --repeats 1"
    on_gpu("benchmarks.selection", f"--dataset digits {size} --gpu 0")


# --- nothing is baked into a graph, nothing waits ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        "",
        "--schedule linear --nesterov",
        "--optimizer adam --label_smoothing 0.1",
        "--batch_selection infobatch",
        "--shards 2",
    ],
)
def test_captured_training_is_the_plain_one_to_the_bit(tmp_path, recipe):
    """Over rounds: replays see each step's learning rate, which warms up and falls, each batch and each mask."""
    checkpoints = {}
    for way in ("auto", "off"):
        flags = REWIND.replace("--epochs 2", "--epochs 3 --warmup 1") + f" {recipe}"
        on_gpu("main_PrAC_imp", f"{flags} --compile {way}", "--save_dir", tmp_path / way)
        checkpoints[way] = read(tmp_path / way / "2checkpoint.pth.tar")
    assert [row["step"] for row in checkpoints["auto"]["rounds"]] == ["graph", "graph"]
    assert [row["step"] for row in checkpoints["off"]["rounds"]] == ["plain", "plain"]
    weights, plain_weights = (checkpoints[way]["state_dict"] for way in ("auto", "off"))
    assert all(torch.equal(value, plain_weights[name]) for name, value in weights.items())
    assert torch.equal(checkpoints["auto"]["sequence"], checkpoints["off"]["sequence"])


RECIPE = Recipe(epochs=3, milestones=(2,), warmup=1, lr=0.05, batch_size=8)


def trained(gpu, images, compile="auto", model=Tiny, indices=24, rounds=1, change=lambda step: None):
    """Train a small network for some rounds: (its losses, what was said, waits for the device, the step)."""
    torch.manual_seed(3)
    network, notes = model().to("cuda", memory_format=torch.channels_last), []
    data = Images(images.images.cuda(), images.labels.cuda(), images.padding, images.flips)
    step = Step(network, data, RECIPE, compile=compile, log=notes.append)
    change(step)
    losses, before = [], sum(gpu.waits.values())
    for round in range(rounds):
        step.load_(pruned_ticket(network, 0.2 + 0.2 * round))
        before = sum(gpu.waits.values())
        losses += [epoch.loss for epoch in fit(step, torch.arange(indices, device="cuda"), RECIPE, seed=1, round=round)]
    return losses, notes, sum(gpu.waits.values()) - before, step


@pytest.mark.parametrize("compile", ["auto", "off"])
@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam"}, {"batch_selection": "infobatch"}])
def test_an_epoch_waits_as_often_whatever_its_length(images, monkeypatch, compile, changes):
    """The second round, whose graphs are there: no step waits. Where examples are left out, an epoch waits for their
    number."""
    monkeypatch.setitem(globals(), "RECIPE", replace(RECIPE, **changes))
    with pretended_gpu() as gpu:
        waits = [trained(gpu, images, compile, indices=n, rounds=2)[2] for n in (16, 32)]
    assert waits[0] == waits[1] > 0


class Waits(Tiny):
    """Looks at a value of its own in every forward pass."""

    def forward(self, x):
        return super().forward(x) * (1.0 if x.sum().item() > -1e9 else 2.0)


def test_a_network_that_waits_is_not_captured_and_trains_all_the_same(images):
    with pretended_gpu() as gpu:
        losses, notes, _, step = trained(gpu, images, model=Waits, rounds=2)
        expected, *_ = trained(gpu, images, "off", rounds=2)
        assert gpu.stream is gpu.default_stream and not gpu.waits_raise
    assert losses == expected and step.fast_step.used == "plain" and "synchronizing" in step.fast_step.fallback
    (note,) = notes
    assert "the faster step is not used (RuntimeError: called a synchronizing" in note
    assert "every operation runs on its own" in note


def users(network):
    """Such a network, as --arch makes it."""
    return lambda: UserNetwork(network(3), nn.Identity())


@pytest.mark.parametrize(
    "network, changed",
    [
        (networks.Centred, "network.mean"),
        (networks.Annealed, "network.passes"),
        (networks.Keeps, "network.feature"),
        (networks.StochasticDepth, "the state of Python's or NumPy's generator"),
    ],
)
def test_a_network_that_changes_in_every_step_is_not_captured_and_trains_all_the_same(images, network, changed):
    """A graph would repeat what it was when it was recorded, and the first step could not show it."""
    with pretended_gpu() as gpu:
        losses, notes, _, step = trained(gpu, images, model=users(network), rounds=2)
        expected, *_ = trained(gpu, images, "off", model=users(network), rounds=2)
    assert losses == expected and step.fast_step.used == "plain"
    assert step.fast_step.fallback == f"RuntimeError: each step changes {changed}, which a recorded one would not"
    assert len(notes) == 1


def test_a_network_that_changes_between_epochs_is_captured_anew(images):
    with pretended_gpu() as gpu:
        losses, notes, _, step = trained(gpu, images, model=users(networks.ByEpoch), rounds=2)
        assert losses == trained(gpu, images, "off", model=users(networks.ByEpoch), rounds=2)[0]
    assert notes == [] and step.fast_step.used == "graph"


def test_a_recording_that_breaks_off_leaves_torch_on_its_stream(images):
    class Unrecordable(Tiny):
        def forward(self, x):
            if gpu.recording is not None:
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
            return super().forward(x)

    with pretended_gpu() as gpu:
        losses, notes, *_ = trained(gpu, images, model=Unrecordable, rounds=2)
        assert losses == trained(gpu, images, "off", rounds=2)[0] and len(notes) == 1
        assert gpu.stream is gpu.default_stream


def test_graphs_share_memory_until_all_are_gone(images):
    """Other layers are masked in the second round, so that every graph is recorded anew."""
    with pretended_gpu() as gpu:
        _, notes, _, step = trained(gpu, images, indices=20)
        assert notes == [] and len(gpu.pools) == 1 and len(step.fast_step.variants) == 2
        step.load_(Ticket({}, copy_weights(step.model)))
        list(fit(step, torch.arange(20, device="cuda"), RECIPE, seed=1))
        assert notes == [] and step.fast_step.used == "graph" and len(gpu.pools) == 2


def test_a_network_that_cannot_be_compiled_is_captured(images, monkeypatch):
    def broken(batch):
        raise RuntimeError("no C compiler\nand much more")

    monkeypatch.setattr(torch, "compile", lambda model, **_: broken)
    with pretended_gpu() as gpu:
        losses, notes, _, step = trained(gpu, images, "on", indices=20, rounds=2)
        assert losses == trained(gpu, images, "off", indices=20, rounds=2)[0]
    (note,) = notes
    assert "(RuntimeError: no C compiler); the step is one CUDA graph all the same" in note
    assert step.fast_step.used == "graph" and step.fast_step.fallback == "RuntimeError: no C compiler"


def test_a_compiled_network_is_captured(images, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    with pretended_gpu() as gpu:
        losses, notes, _, step = trained(gpu, images, "on", indices=20)
        assert losses == trained(gpu, images, "off", indices=20)[0] and notes == []
    assert [way.name for way in step.fast_step.variants.values()] == ["compiled graph", "graph"]
    assert step.fast_step.used == "compiled graph"


# --- faults that were planted: what the tests above see ---------------------------------------------------------------


def learn_by_number(step):
    """The learning rate is a number in Python: a graph keeps the first one."""
    group = step.optimizer.param_groups[0]
    group["lr"], step.lr = 0.05 / 3, SimpleNamespace(fill_=lambda lr: group.update(lr=lr))


def replace_masks(step):
    """Each round's mask is in buffers of its own: a graph goes on with the first ones."""
    load_ = step.load_

    def load_into_new_buffers_(ticket):
        step.kept = {name: torch.empty_like(step.parameters[name]) for name in ticket.mask}
        load_(ticket)

    step.load_ = load_into_new_buffers_


@pytest.mark.parametrize("plant", [learn_by_number, replace_masks])
def test_what_is_baked_into_a_graph_shows(images, plant):
    with pretended_gpu() as gpu:
        captured, plain_ones = (trained(gpu, images, way, rounds=2, change=plant)[0] for way in ("auto", "off"))
        assert plain_ones == trained(gpu, images, "off", rounds=2)[0] != captured


def test_operands_on_two_devices_show():
    with pretended_gpu(), pytest.raises(RuntimeError, match="same device, but found cuda:0 and cpu"):
        torch.ones(2, device="cuda") * torch.ones(2)
