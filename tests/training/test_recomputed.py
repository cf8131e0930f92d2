"""Searches of users' networks, recomputed from their files by a slow loop of plain PyTorch and plain Python.

What is taken from the suite is what it reads (the images) and what chance decides (`draw_epoch`, a function of seed,
round and epoch); everything that a search computes of these is computed here once more, example by example.
"""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import main_PrAC_imp
from dataset import draw_epoch
from lottery.readers.registry import read_source
from lottery.training.recipe import batches
from tests import networks
from tests.helpers import run_in_process
from utils import RandomStream, torch_seed

SEED, EPOCHS, BATCH, LR, MOMENTUM, DECAY = 0, 4, 32, 0.05, 0.9, 1e-4
NEVER = 10**6  # forgetting events of an example that was never right
NETWORKS = (
    "Plain",
    "Centred",
    "convnext_shallow",
    "Encoder",
)  # plain, with a norm of its own, timm-like, a transformer


class Slow:
    """A finished search and its network, as anyone could look at them."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.images = read_source("digits", folder)
        self.rows = json.loads((folder / "summary.json").read_text())["rounds"]

    def file(self, name):
        return torch.load(self.folder / name, weights_only=True)

    def network(self, state):
        """The network on its own, without anything of the suite around it."""
        model = getattr(networks, self.name)(num_classes=10)
        model.load_state_dict({key.removeprefix("network."): state[key] for key in state if key.startswith("network.")})
        return model

    def input(self, image):
        """One (8, 8, 1) image of bytes as the network gets it: three times the same grey, normalised."""
        grey = torch.from_numpy(image[..., 0].astype(np.float32)) / 255
        return ((grey - self.images.mean[0]) / self.images.std[0]).expand(3, 8, 8)

    def classes(self, model, images):
        with torch.no_grad():
            parts = torch.stack([self.input(image) for image in images]).split(50)
            return torch.cat([model.eval()(part).argmax(1) for part in parts])


def plain(state):
    """Weights, those that are dropped at zero, and masks, from a state_dict of NAME_orig and NAME_mask."""
    masks = {key.removesuffix("_mask"): value for key, value in state.items() if key.endswith("_mask")}
    weights = {key.removesuffix("_orig"): value for key, value in state.items() if not key.endswith("_mask")}
    return {name: value * masks[name] if name in masks else value for name, value in weights.items()}, masks


def percent(right):
    return 100 * sum(right.tolist()) / len(right)


@pytest.fixture(scope="module", params=NETWORKS)
def search(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "split.npy", np.random.default_rng(0).permutation(1437)[:400])
    words = f"--seed {SEED} --dataset digits --arch tests.networks:{request.param} --split_file {folder / 'split.npy'} "
    words += f"--lr {LR} --momentum {MOMENTUM} --weight_decay {DECAY} --batch_size {BATCH} --epochs {EPOCHS} --gpu -1 "
    words += "--decreasing_lr 3 --pruning_times 2 --rate 0.3 --prune_type rewind_lt --rewind_epoch 0 --cep pruned "
    words += "--no_early_stop"
    status, out, err = run_in_process(main_PrAC_imp, *words.split(), "--save_dir", folder)
    assert status == 0 and "not folded" not in out, err
    return Slow(request.param, folder)


def test_accuracies(search):
    """Of the best network of each round, exactly: on validation and test images."""
    for row in search.rows:
        best = search.file(f"{row['round']}model_SA_best.pth.tar")
        model = search.network(plain(best["state_dict"])[0])
        validation, source = best["validation"].long().numpy(), search.images
        right = search.classes(model, source.train_images[validation]).numpy() == source.train_labels[validation]
        assert percent(right) == pytest.approx(row["validation"], abs=1e-9)
        right = search.classes(model, source.test_images).numpy() == source.test_labels
        assert percent(right) == pytest.approx(row["test"], abs=1e-9)


def test_densities(search):
    """Exactly so many ones in the masks, and no more weights that are not zero in the networks that were trained."""
    for k in (1, 2):
        weights, masks = plain(search.file(f"{k}checkpoint.pth.tar")["state_dict"])
        size = kept = sum(mask.numel() for mask in masks.values())
        for _ in range(k):
            kept -= round(0.3 * kept)
        assert sum(int(mask.sum()) for mask in masks.values()) == kept
        assert sum(int((weights[name] != 0).sum()) for name in masks) <= kept
        if k < len(search.rows):
            assert search.rows[k]["density"] == kept / size


def test_forgetting_and_the_next_set(search):
    """Round by round: train from the rewound weights again, watch every example, count, and choose."""
    for k in range(len(search.rows)):
        done, following = search.file(f"{k}checkpoint.pth.tar"), search.file(f"{k + 1}checkpoint.pth.tar")
        trained, masks = plain(done["state_dict"])
        # Round 0 begins with the network's initial weights; those that are rewound to are its own after an epoch.
        history, final = train_again(search, k, done, done["init_weight"] if k else initial(search), masks)
        for name, value in final.items():
            torch.testing.assert_close(value, trained[f"network.{name}"], rtol=1e-2, atol=1e-3, check_dtype=False)
        forgotten = {example: times_forgotten(right) for example, right in history.items()}
        assert few(example for example, times in forgotten.items() if times != times_told(done, example))
        chosen = {example for example, times in forgotten.items() if times}
        chosen |= disagreeing(search, trained, plain(following["state_dict"])[1])
        assert few(chosen ^ set(following["sequence"].tolist()))
        assert len(forgotten) > 2 and 0 < len(chosen) < 360


def few(examples):
    """At most two: sums in another order may turn an example from right to wrong."""
    return len(set(examples)) <= 2


def train_again(search, k, done, start, masks):
    """For each example whether it was right, epoch by epoch, and the weights at the end; SGD written out."""
    model = search.network({name: value * masks.get(name, 1) for name, value in start.items()}).train()
    sequence, source = done["sequence"].long().tolist(), search.images
    momentum = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    history = {example: [] for example in sequence}
    for epoch, row in enumerate(done["history"]):
        draws = draw_epoch(len(sequence), source.padding, source.flips, (SEED, k, epoch))
        torch.manual_seed(torch_seed(SEED, k, epoch))  # dropout draws
        for batch in batches(len(sequence), BATCH):
            examples = [sequence[place] for place in draws.order[batch].tolist()]
            corners = zip(draws.top[batch].tolist(), draws.left[batch].tolist(), strict=True)
            images = [crop(source, example, *corner) for example, corner in zip(examples, corners, strict=True)]
            labels = torch.from_numpy(source.train_labels[examples])
            logits = model(torch.stack([search.input(image) for image in images]))
            for example, right in zip(examples, (logits.argmax(1) == labels).tolist(), strict=True):
                history[example].append(right)
            model.zero_grad()
            cross_entropy(logits, labels).backward()
            with torch.no_grad():
                for name, value in model.named_parameters():
                    momentum[name] = MOMENTUM * momentum[name] + value.grad + DECAY * value
                    value -= row["lr"] * momentum[name]
                    value *= masks.get(f"network.{name}", 1)
    return history, model.state_dict()


def initial(search):
    torch.manual_seed(torch_seed(SEED, purpose=RandomStream.INITIAL_WEIGHTS))
    model = getattr(networks, search.name)(num_classes=10)
    return {f"network.{name}": value for name, value in model.state_dict().items()}


def crop(source, example, top, left):
    """An image moved within a frame of zeros."""
    frame = (source.padding, source.padding)
    return np.pad(source.train_images[example], (frame, frame, (0, 0)))[top : top + 8, left : left + 8]


def times_forgotten(right):
    """How often from right to wrong; NEVER for an example that was never right."""
    return sum(before and not after for before, after in pairwise(right)) if any(right) else NEVER


def times_told(checkpoint, example):
    found = checkpoint["policy"]["forgetting"]
    return int(found["times"][example]) if found["ever_right"][example] else NEVER


def disagreeing(search, trained, masks):
    """Examples of the whole training split on which the network before its pruning and after it differ."""
    whole = search.file("0checkpoint.pth.tar")["sequence"].long().numpy()
    images = search.images.train_images[whole]
    before = search.classes(search.network(trained), images)
    pruned = {name: value * masks.get(name, 1) for name, value in trained.items()}
    after = search.classes(search.network(pruned), images)
    return set(whole[(before != after).numpy()].tolist())
