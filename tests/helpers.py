"""What tests share: small networks, flags of quick runs, scripts run in this process, comparisons, made-up runs."""

import contextlib
import copy
import io
import itertools
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

import main_channels
import main_greedy
import main_imp
import main_PrAC_imp
import main_train
import pruner
import study
from dataset import Images
from lottery.channels.slicing import channel_mask, slice_network
from lottery.checkpointing.checkpoint import read, split_state
from lottery.reports.comparison.accuracy import accuracy_curves
from lottery.reports.comparison.methods import SEARCH, group_by_task
from lottery.results.ticket_runs import Run
from lottery.search import imp as search
from lottery.training import checkpointer
from lottery.training.step import copy_weights
from models.build import build
from models.families import MLPS
from models.normalization import normalization
from pruner import Ticket
from tests.stress.same_files import differences, different

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parent.parent
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


# --- networks ---------------------------------------------------------------------------------------------------------


class Tiny(nn.Module):
    """Small, with all that could go wrong: batch norm, several layers of unequal size, a classifier."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


def grey_images():
    """40 grey 8x8 images of 3 classes that can be told apart, but not at once."""
    random = torch.Generator().manual_seed(5)
    labels = torch.arange(40) % 3
    pixels = torch.randint(0, 200, (40, 8, 8, 1), generator=random)
    pixels[:, :, 2:5] += 18 * labels[:, None, None, None]
    return Images(pixels.to(torch.uint8), labels, padding=1, flips=True)


def network(arch, device="meta", inputs=64, classes=10):
    """An architecture; on the meta device its names and shapes without values."""
    channels = 1 if arch in MLPS else 3
    with torch.device(device):
        normalize = normalization(
            [0.5] * channels, [0.2] * channels, image_channels=channels, network_channels=channels
        )
        return build(arch, "imagenet", classes, inputs, normalize)


def pruned_ticket(model, rate=0.4):
    """The model's weights under a mask by their magnitude."""
    dense = pruner.dense(model)
    return Ticket(pruner.prune(dense, pruner.magnitude(copy_weights(model), dense), rate), copy_weights(model))


def with_trained_batchnorm(model, seed=0):
    """The model in eval mode with batch norm statistics, scales and shifts as after some training, not 0 and 1."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in ((module.weight, 0.5, 1.5), (module.running_var, 0.5, 2)):
                nn.init.uniform_(value, low, high)
            for value in (module.bias, module.running_mean):
                nn.init.normal_(value)
    return model.eval()


def conv3x3(inputs, outputs, **more):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)


class OwnForward(nn.Module):
    """Convolutions a (3 to 4 channels) and b (4 to 4), other modules, and a forward pass `way(self, x)`."""

    def __init__(self, way, **modules):
        super().__init__()
        self.a, self.b = conv3x3(3, 4), conv3x3(4, 4)
        for name, module in modules.items():
            self.add_module(name, module)
        self.way = way

    def forward(self, x):
        return self.way(self, x)


def random_channels(groups, share=0.4, seed=0):
    """Some channels of each group to keep, one at least."""
    random = torch.Generator().manual_seed(seed)
    kept = {name: torch.rand(group.channels, generator=random) < share for name, group in groups.items()}
    for channels in kept.values():
        channels[-1] = True
    return kept


def masked_and_sliced(model, kept, groups):
    """Two copies of the model with these channels alone: under their mask, and sliced."""
    masked = copy.deepcopy(model)
    pruner.apply_(dict(masked.named_parameters()), channel_mask(masked, groups.values(), kept))
    return masked, slice_network(masked, groups.values(), kept)


# --- flags ------------------------------------------------------------------------------------------------------------

SETTINGS = (
    "--dataset digits --arch tests.networks:tiny --epochs 8 --decreasing_lr 4,6 --batch_size 64 --warmup 1 --gpu -1"
)
REWIND = f"{SETTINGS} --prune_type rewind_lt --rewind_epoch 1 --pruning_times 3"
SAVING = "--save_interval 0"  # after every epoch, for tests that kill between two saves
REPORTED = "--dataset digits --arch tests.networks:tiny --epochs 3 --decreasing_lr 2 --batch_size 64 --gpu -1"
CONTROLLED = (  # rounds of equal length, so that runs of other sets can follow
    "--dataset digits --arch lenet300 --epochs 6 --decreasing_lr 3,5 --batch_size 64 --warmup 1 --gpu -1"
    " --prune_type rewind_lt --rewind_epoch 0 --pruning_times 2 --prac_epochs fixed"
)
STOPS = "--eb_eps 0.3 --eb_arm none --queue_length 2"  # ends each round after its fourth epoch


def like_run(path, members):
    """The flags of a control for the PrAC run in `path`."""
    return f"{CONTROLLED} --like_run {path} --members {members}"


CHANNELS_COMMON = "--dataset digits --arch tests.networks:tiny --batch_size 64"
CHANNELS_SELECT = "--select_examples 200 --select_batch 50 --candidates 6 --fine_tune_epochs 2"
CHANNELS_SHORT = (
    f"{CHANNELS_COMMON} --epochs 2 --decreasing_lr 1 --prune_at 0,42 --layer_tuning 0.1 {CHANNELS_SELECT[:-1]}1"
)
CHANNELS_BESIDE = f"{CHANNELS_SHORT} --baselines random,magnitude"
NEURONS_FAST = "--dataset digits --hidden 30 --examples 100 --iterations 20 --prune_at 0,20 --neurons 10 --fine_tune 5"


# --- runs in this process ---------------------------------------------------------------------------------------------

SCRIPTS = {"imp": main_imp, "PrAC": main_PrAC_imp, "train": main_train}


def run(script, flags, save_dir, expect=0):
    """Run "imp", "PrAC" or "train"; what it printed."""
    return run_to(expect, SCRIPTS[script], *flags.split(), "--save_dir", save_dir)


def select_channels(flags, save_dir, expect=0, script=main_channels):
    """Run main_channels on the CPU; what it printed."""
    return run_to(expect, script, *flags.split(), "--gpu", -1, "--save_dir", save_dir)


def select_neurons(flags, save_dir, expect=0):
    """Run main_greedy on the CPU; what it printed."""
    return run_to(expect, main_greedy, *flags.split(), "--gpu", -1, "--save_dir", save_dir)


def run_to(expect, script, *words: object) -> str:
    """What a script printed; it must end with the exit status `expect`."""
    status, out, err = run_in_process(script, *words)
    assert status == expect, err + out
    return out + err


def run_in_process(script, *words: object) -> tuple[int, str, str]:
    """Call a script's main with these words: (exit status, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = script.main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def one_sentence(call, script, words, tmp_path, message):
    """A script refuses these flags with one matching sentence and status 2, before it writes anything."""
    status, _, err = call(script, *words, "--save_dir", tmp_path / "run")
    assert status == 2
    assert err.startswith(f"{script}.py: error: ") and len(err.strip().splitlines()) == 1, err
    assert re.search(message, err), err
    assert not (tmp_path / "run").exists(), "bad input leaves nothing behind"


def write_study(folder: Path, text: str, *changes: tuple[str, str]) -> Path:
    """A study's file, each change made wherever its old words stand; they must stand somewhere."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "study.toml"
    file.write_text(text)
    return file


def check_refusal(file, folder, message, capsys):
    """A study is refused with one matching sentence and status 2, before it writes anything."""
    assert study.main([str(file), "--save_dir", str(folder)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err
    assert not folder.exists()


# --- runs that die ----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends a run as a kill does: nothing catches it."""


def kill_at(monkeypatch, number):
    """Die just before the number-th write (from 0) of a checkpoint."""
    from lottery.checkpointing import checkpoint

    real, left = checkpoint.write, iter(range(number))

    def write(path, content):
        if next(left, None) is None:
            raise Killed
        real(path, content)

    for module in (checkpointer, search):
        monkeypatch.setattr(module, "write", write)


def run_killed(monkeypatch, script, flags, save_dir, every):
    """A run that dies before each `every`-th write, started again and again until it ends."""
    for _ in range(40):
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            kill_at(patch, every)
            run(script, flags, save_dir)
            return
    pytest.fail("the run never ended")


def die():
    """SIGKILL: for a forked child."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(patch, owner, name, number, after=False):
    """Die at the number-th call of a function (from 1), before its work or after it."""
    real, calls = getattr(owner, name), itertools.count(1)

    def dies(*args, **more):
        now = next(calls) == number
        if now and not after:
            die()
        result = real(*args, **more)
        if now:
            die()
        return result

    patch.setattr(owner, name, dies)


# --- what runs leave --------------------------------------------------------------------------------------------------


def checkpoints(folder, kind="checkpoint"):
    """The files of a search's rounds, in order; their best networks with kind="model_SA_best"."""
    return [read(folder / f"{k}{kind}.pth.tar") for k in itertools.takewhile(
        lambda k: (folder / f"{k}{kind}.pth.tar").exists(), itertools.count())]  # fmt: skip


def masks(folder):
    """The masks of a search's rounds, in order; the dense round's is empty."""
    return [split_state(saved["state_dict"])[1] for saved in checkpoints(folder)]


def without_time(rows, dropping=None):
    """Rows without what the clock says, and without the key `dropping`."""
    return [{key: value for key, value in row.items() if key not in ("seconds", dropping)} for row in rows]


def equal_weights(a, b):
    """Whether two state dicts are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def assert_same(a, b, where):
    """Two values of a file are the same to the bit; `where` is how a difference is named."""
    assert list(different(a, b, where)) == []


def assert_same_files(a, b):
    """Two runs left the same files: tensors to the bit, all else but what the clock says."""
    assert differences(a, b) == []


# --- made-up runs, for reports ----------------------------------------------------------------------------------------

RECIPE = {
    "dataset": "digits",
    "data checksum": "d",
    "split checksum": "s",
    "arch": "tiny",
    "epochs": 4,
    "batch_size": 8,
}
IMP = RECIPE | {"script": "main_imp.py", "rate": 0.5, "random_prune": False, "eb_eps": None, "prac_set": False}
PRAC = RECIPE | {"script": "main_PrAC_imp.py", "rate": 0.5, "data_prune": "zero_out", "cep": "trained", "eb_eps": 0.08}
TRAIN = RECIPE | {"script": "main_train.py", "init_dir": True, "mask_dir": True}


def round_row(k, test, **more):
    """What a run records of round k, with half of the weights pruned each time."""
    density = 0.5**k
    defaults = {"kept": int(64 * density), "set": 16, "validation": test, "best_epoch": 3, "epochs": 4}
    defaults |= {"epochs_planned": 4, "stopped": False, "steps": 8, "steps_per_epoch": 2, "examples": 64}
    return {
        "round": k,
        "density": density,
        "sparsity": 1 - density,
        "test": test,
        "forward_passes": 0,
        "seconds": 1.0,
    } | (defaults | more)


def made(path, settings, tests, seed=0, summary=None):
    """A run with these test accuracies, one a round."""
    rounds = [round_row(k, test) for k, test in enumerate(tests)]
    found = Run(path, settings | {"seed": seed}, rounds, summary=summary or {})
    found.name = f"{settings['script']}-{seed}-{id(found)}"
    return found


def seeds(settings, by_seed, path="runs"):
    """One run for each list of test accuracies, with the seeds 0, 1, ..."""
    return [made(path, settings, tests, seed) for seed, tests in enumerate(by_seed)]


def retrained(search, k, test, seed=0, ticket_seed=0):
    """A training of the ticket after k prunings."""
    ticket = {"file": "f", "prunings": k, "settings": search | {"seed": ticket_seed}}
    found = made("runs", TRAIN, [test], seed, {"ticket": ticket})
    found.rounds = [round_row(k, test)]
    return found


def elastic_ticket(search, density, test, seed=0, order="append", arch="deep", k=2):
    """A training of an elastic ticket, made from one that another network's search found."""
    source = {"file": "f", "prunings": k, "settings": search | {"arch": "flat", "seed": seed}}
    elastic = {"script": "main_elastic.py", "arch": arch, "source_arch": "flat", "order": order, "seed": seed}
    elastic |= {"block_mapping": "0:0;1:1,2"}
    ticket = {"file": "g", "prunings": None, "settings": elastic, "source": source}
    found = made("runs", TRAIN | {"arch": arch}, [test], seed, {"ticket": ticket})
    found.rounds = [round_row(0, test, density=density, sparsity=1 - density)]
    return found


def control(search, name, k, test, seed=0):
    """A control of the ticket after k prunings; it has no mask if it is the dense network."""
    found = retrained(search, k, test, seed, seed)
    found.settings = found.settings | {"control": name}
    found.rounds = [round_row(0, test)] if name == "dense" else found.rounds
    return found


def logged(function, *arguments):
    """What a function returns, and the sentences that it logs."""
    notes = []
    return function(*arguments, notes.append), notes


def curves(runs, kind=SEARCH, margin=0.5):
    """By name the curves of runs that are of one task."""
    (task,), _ = logged(group_by_task, runs)
    return {curve.method.name: curve for curve in accuracy_curves(task, kind, margin)}


FROM_SCRATCH = IMP | {"prune_type": "rewind_lt", "init_dir": False, "mask_dir": False, "seed": 0}

DEEP = IMP | {"arch": "deep"}


def deep(k, test, seed=0):
    """A retrained ticket of IMP on the network that elastic tickets are made for."""
    found = retrained(DEEP, k, test, seed, seed)
    found.settings = found.settings | {"arch": "deep"}
    return found


SNIP = RECIPE | {"script": "main_init.py", "criterion": "snip", "ranking": "global", "iterations": 1, "step": 0}
SNIP |= {"prac_set": False, "score_examples": None, "kept": 16, "prunable": 64, "density": 0.25}


def init_ticket(test, seed=0, kept=16, **more):
    """A training of a ticket that main_init.py made."""
    found = made("runs", TRAIN, [test], seed)
    settings = SNIP | {"seed": seed, "kept": kept, "density": kept / 64} | more
    found.summary = {"ticket": {"file": "f", "prunings": None, "settings": settings}}
    found.rounds = [round_row(0, test, density=kept / 64, sparsity=1 - kept / 64)]
    return found


def names(runs, kind=SEARCH):
    """What the report calls the methods of these runs."""
    (task,), _ = logged(group_by_task, runs)
    return [method.name for method in task.by_kind(kind)]
