"""Networks of a user's own that change more than the values of their parameters."""

import copy
import itertools
import json
import random
from collections import deque
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import main_channels
from dataset import Images, to_input
from lottery.checkpointing.checkpoint import read
from lottery.training.evaluation import Evaluator
from lottery.training.step import copy_weights, load_weights_
from models.custom import UserNetwork
from models.network_state import copy_network, first_names, tensors
from models.probe import check_training
from models.python_state import generators_kept, python_state, python_state_kept
from tests import networks
from tests.helpers import equal_weights, run_in_process
from tests.networks import Aliased, Annealed, Centred, Extra, Keeps, Plain, StochasticDepth
from utils import InputError

QUICK = "--dataset digits --batch_size 64 --epochs 2 --decreasing_lr 1 --lr 0.05".split()
SEARCH = [*QUICK, *"--pruning_times 2 --prune_type rewind_lt --rewind_epoch 0".split()]


def passes(model, times=1):
    """Training passes, as a step makes them."""
    torch.manual_seed(0)
    for _ in range(times):
        model.train()(torch.rand(4, 3, 8, 8))
    return model


# --- the tensors of a network -----------------------------------------------------------------------------------------


def test_the_tensors_are_those_of_the_state_dict_in_its_order():
    model = networks.Encoder()
    assert list(tensors(model)) == list(model.state_dict())
    assert all(value.data_ptr() == model.state_dict()[name].data_ptr() for name, value in tensors(model).items())


def test_a_tensor_with_several_names_is_there_once_under_the_first():
    names = first_names(Aliased())
    assert names["features.0.weight"] == "conv1.weight" and names["conv1.weight"] == "conv1.weight"
    assert list(tensors(Aliased())) == list(tensors(Plain()))


def test_extra_state_is_no_tensor():
    assert list(tensors(Extra())) == list(tensors(Plain()))
    model = Extra()
    load_weights_(model, copy_weights(Plain()))


def test_a_network_that_keeps_a_tensor_of_a_pass_can_be_copied():
    model = passes(Keeps())
    with pytest.raises(RuntimeError):
        copy.deepcopy(model)
    twin = copy_network(model)
    assert torch.equal(twin.feature, model.feature) and twin.feature is not model.feature
    assert twin.conv1.weight is not model.conv1.weight and torch.equal(twin.conv1.weight, model.conv1.weight)


# --- what it depends on beside their values ---------------------------------------------------------------------------


class Slotted:
    __slots__ = ("number",)

    def __init__(self):
        self.number = 0

    def step(self):
        self.number += 1


class Counting(Plain):
    """Keeps numbers in many places."""

    count: ClassVar[list] = []

    def __init__(self):
        super().__init__()
        self.seen, self.last, self.slotted = set(), deque(maxlen=3), Slotted()
        self.settings, self.own, self.kept = {"rates": [0.1, 0.2]}, np.random.default_rng(0), None


@pytest.mark.parametrize(
    "change, names",
    [
        (lambda model: None, []),
        (lambda model: model.conv1.weight.data.mul_(2), []),
        (lambda model: model.bn1.running_mean.add_(1), []),
        (lambda model: model.eval(), []),
        (lambda model: setattr(model.bn1, "running_mean", model.bn1.running_mean.clone()), ["bn1.running_mean"]),
        (lambda model: model.settings["rates"].append(0.3), ["settings"]),
        (lambda model: model.own.random(), ["own"]),
        (lambda model: setattr(model, "kept", 1.0), ["kept"]),
        (lambda model: setattr(model, "new", None), ["new"]),
        (lambda model: setattr(model.fc, "weight", nn.Parameter(model.fc.weight.detach())), ["fc.weight"]),
        (lambda model: random.random(), ["the state of Python's or NumPy's generator"]),
        (lambda model: np.random.uniform(), ["the state of Python's or NumPy's generator"]),  # noqa: NPY002
        (lambda model: torch.rand(1), []),
        (lambda model: model.seen.add(1), ["seen"]),
        (lambda model: model.last.append(1), ["last"]),
        (lambda model: model.slotted.step(), ["slotted"]),
        (lambda model: next(model.cycle), ["cycle"]),
        (lambda model: type(model).count.append(1), ["count"]),
    ],
)
def test_what_changes_beside_values_is_seen(change, names):
    model = Counting()
    if names == ["cycle"]:  # what is next in it cannot be seen, so that it always counts as another
        model.cycle = itertools.cycle([1.0, 0.0])
    before = python_state(model)
    with generators_kept():
        change(model)
        assert before.changed(python_state(model)) == names


def test_afterwards_it_is_as_it_was():
    model = Centred()
    before, mean = python_state(model), model.mean
    with python_state_kept(model), generators_kept():
        passes(model)
        model.kept, _ = "something", random.random()
        assert model.mean is not mean
    assert before.changed(python_state(model)) == [] and model.mean is mean and not hasattr(model, "kept")


@pytest.mark.parametrize(
    "network, names", [(Annealed, ("passes",)), (Centred, ()), (Keeps, ()), (Plain, ()), (Extra, ()), (Aliased, ())]
)
def test_what_no_checkpoint_holds_is_named(network, names):
    assert check_training(network(), "net", classes=10, channels=3, image_size=8) == names


def test_a_buffer_that_is_not_persistent_is_named_where_training_changes_it():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Linear(192, 10))
    model[1].register_buffer("running_mean", model[1].running_mean, persistent=False)
    assert check_training(model, "net", classes=10, channels=3, image_size=8) == ()  # of zeros the mean is 0
    model[1].running_mean.fill_(1)
    assert check_training(model, "net", classes=10, channels=3, image_size=8) == ("1.running_mean",)


class Cached(Plain):
    """Has a buffer that its first pass makes."""

    def __init__(self, persistent: bool):
        super().__init__()
        self.register_buffer("cache", None, persistent)

    def forward(self, x):
        self.cache = torch.ones(1, device=x.device)
        return super().forward(x)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_buffer_that_is_made_by_the_first_pass_is_named_or_refused_if_a_checkpoint_were_to_hold_it(persistent):
    model, form = Cached(persistent), {"classes": 10, "channels": 3, "image_size": 8}
    if not persistent:
        assert check_training(model, "net", **form) == ("cache",)
        return
    with pytest.raises(InputError, match="must have all of its tensors when it is built, got cache"):
        check_training(model, "net", **form)


@pytest.mark.parametrize(
    "network, words",
    [
        (networks.EvalTuple, "got tuple in eval mode"),
        (networks.Frozen, "cannot be trained: its backward pass fails"),
        (networks.ComplexNumbers, "parameters of real numbers, got torch.complex64 in phase"),
        (networks.Bfloat16, "must have parameters of float32, float64 or float16, got torch.bfloat16 in"),
        (networks.Quantised, "keeps packed in a form that is neither a parameter nor a buffer"),
        (networks.NotAgain, "fails in eval mode with RuntimeError: once is enough"),
    ],
)
def test_what_cannot_be_trained_and_evaluated_in_turn_is_refused(network, words):
    with pytest.raises(InputError, match=words):
        check_training(network(), "net", classes=10, channels=3, image_size=8)


# --- evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [Plain, Centred, Annealed, Keeps, Aliased])
def test_a_user_s_network_is_evaluated_as_it_is_at_each_call(network):
    """Folded anew, or not folded: either way what the network itself computes after more training."""
    torch.manual_seed(1)
    model = UserNetwork(network(), nn.Identity())
    images = Images(torch.randint(0, 256, (40, 8, 8, 3), dtype=torch.uint8), torch.zeros(40, dtype=torch.int64))
    evaluator = Evaluator(model, log=pytest.fail)
    found = []
    for _ in range(3):
        passes(model, 4)
        with torch.no_grad():
            expected = model.eval()(to_input(images.images))
        logits = evaluator.map_batches(images, None, lambda logits, labels: logits)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        found.append(logits)
    assert network is Plain or not torch.equal(found[0], found[2])


def test_a_trace_leaves_nothing_in_the_network():
    model = UserNetwork(passes(Keeps()), nn.Identity())
    kept = model.network.feature
    Evaluator(model)(Images(torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)))
    assert isinstance(model.network.feature, torch.Tensor) and not isinstance(model.network.feature, torch.fx.Proxy)
    assert kept is not None


# --- whole runs -------------------------------------------------------------------------------------------------------


def rounds(folder):
    return json.loads((folder / "summary.json").read_text())["rounds"]


@pytest.mark.parametrize("name", ["Aliased", "Extra", "Keeps"])
def test_a_habit_that_changes_nothing_changes_no_result(call, tmp_path, name):
    """The same search as that of the plain network, file by file."""
    for each in ("Plain", name):
        status, _, err = call("main_imp", *SEARCH, "--arch", f"tests.networks:{each}", "--save_dir", tmp_path / each)
        assert status == 0, err
    for file in ("0checkpoint.pth.tar", "2checkpoint.pth.tar", "1model_SA_best.pth.tar"):
        plain, other = (read(tmp_path / each / file)["state_dict"] for each in ("Plain", name))
        assert plain.keys() == other.keys()
        assert all(torch.equal(plain[key], other[key]) for key in plain)


def test_layers_that_share_their_weights_are_pruned_once(call, tmp_path):
    status, _, err = call("main_imp", *SEARCH, "--arch", "tests.networks:Tied", "--save_dir", tmp_path)
    assert status == 0, err
    state = read(tmp_path / "2checkpoint.pth.tar")["state_dict"]
    assert "network.conv2.weight_mask" in state and not any("conv3.weight" in name for name in state)
    assert call("verify", tmp_path / "1checkpoint.pth.tar", tmp_path / "2checkpoint.pth.tar")[0] == 0


def test_every_draw_follows_from_the_seed_python_s_and_numpy_s_too(call, tmp_path):
    found = []
    for folder in ("a", "b"):
        random.seed(len(found))  # whatever the process has drawn before
        np.random.seed(len(found))  # noqa: NPY002
        words = [*SEARCH, "--arch", "tests.networks:StochasticDepth", "--save_dir", tmp_path / folder]
        assert call("main_imp", *words)[0] == 0
        found.append(read(tmp_path / folder / "1checkpoint.pth.tar")["state_dict"])
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert passes(StochasticDepth()) is not None


def test_a_run_that_cannot_find_again_what_training_changes_says_so(call, tmp_path):
    words = ["main_train", *QUICK, "--arch", "tests.networks:Annealed", "--save_dir"]
    status, out, _ = call(*words, tmp_path / "a")
    assert status == 0 and "note: training changes network.passes, which is in no checkpoint" in out
    assert (
        "in no checkpoint"
        not in call("main_train", *QUICK, "--arch", "tests.networks:Plain", "--save_dir", tmp_path)[1]
    )


def test_channels_of_a_network_that_keeps_a_tensor_can_be_pruned(tmp_path):
    few = "--arch tests.networks:Keeps --keep 0.5 --prune_at 0 --fine_tune_epochs 1"
    few += " --select_examples 64 --select_batch 32"
    status, _, err = run_in_process(main_channels, *QUICK, *few.split(), "--gpu", -1, "--save_dir", tmp_path)
    assert status == 0, err


def test_a_network_that_returns_more_in_eval_mode_is_trained_by_its_logits_which_is_said(call, tmp_path):
    """As the network that returns its logits alone, to the bit."""
    states = []
    for name in ("EvalTuple", "Plain"):
        status, out, err = call("main_imp", *SEARCH, "--arch", f"tests.networks:{name}", "--save_dir", tmp_path / name)
        said = "note: the network returns a tuple, whose first element is taken for the logits; other outputs are not"
        assert status == 0 and (said in out) == (name == "EvalTuple"), err
        states.append(read(tmp_path / name / "1checkpoint.pth.tar")["state_dict"])
    assert equal_weights(*states)


def test_a_network_that_torch_has_pruned_is_refused_with_what_to_do(call, tmp_path):
    status, _, err = call("main_imp", *SEARCH, "--arch", "tests.networks:masked_by_torch", "--save_dir", tmp_path / "a")
    assert status == 2 and "network.0.weight is masked by torch.nn.utils.prune: call prune.remove" in err


def test_weights_with_other_names_of_a_tensor_are_read(call, tmp_path):
    """A user's own state_dict has each layer under both names, and extra state."""
    torch.save(Aliased().state_dict(), tmp_path / "aliased.pt")
    torch.save(Extra().state_dict(), tmp_path / "extra.pt")
    for name, file in ("Aliased", "aliased.pt"), ("Extra", "extra.pt"):
        words = [
            *QUICK,
            "--arch",
            f"tests.networks:{name}",
            "--init_dir",
            tmp_path / file,
            "--save_dir",
            tmp_path / name,
        ]
        status, _, err = call("main_train", *words)
        assert status == 0, err


def test_a_network_with_weights_of_its_own_starts_alike_with_every_seed_which_is_said(call, tmp_path):
    told = {}
    for name in ("Pretrained", "Plain"):
        words = [*QUICK, "--arch", f"tests.networks:{name}", "--save_dir", tmp_path / name]
        told[name] = call("main_train", *words)[1]
    assert (
        "note: --arch tests.networks:Pretrained begins with the same weights whatever --seed is" in told["Pretrained"]
    )
    assert "the same weights" not in told["Plain"]


def test_networks_with_several_names_or_extra_state_are_attacked_as_well(call, tmp_path):
    for name in ("Aliased", "Extra"):
        assert call("main_train", *QUICK, "--arch", f"tests.networks:{name}", "--save_dir", tmp_path / name)[0] == 0
    few = ["--examples", 8, "--pgd_steps", 1]
    status, _, err = call("main_robustness", tmp_path / "Aliased", tmp_path / "Extra", *few)
    assert status == 0 and (tmp_path / "Extra" / "robustness.json").exists(), err


def test_buffers_may_hold_infinities_from_the_start(call, tmp_path):
    status, _, err = call("main_imp", *SEARCH, "--arch", "tests.networks:Causal", "--save_dir", tmp_path / "search")
    assert status == 0, err
    file = tmp_path / "search" / "2checkpoint.pth.tar"
    words = [
        *QUICK,
        "--arch",
        "tests.networks:Causal",
        "--init_dir",
        file,
        "--mask_dir",
        file,
        "--save_dir",
        tmp_path / "again",
    ]
    assert call("main_train", *words)[0] == 0 and call("verify", file)[0] == 0


def test_a_head_with_a_layer_of_its_own_is_spared_as_a_whole(call, tmp_path):
    status, _, err = call("main_imp", *SEARCH, "--arch", "tests.networks:HeadWithChild", "--save_dir", tmp_path)
    assert status == 0, err
    assert not any("fc" in name for name in rounds(tmp_path)[0]["layers"])


def test_3d_convolutions_train(call, tmp_path):
    status, _, err = call("main_train", *QUICK, "--arch", "tests.networks:Volumes", "--save_dir", tmp_path)
    assert status == 0, err
