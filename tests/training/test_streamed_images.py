"""Training on images that are read from files: the same bits however they are read, killed or not, and as in memory."""

import gc
import io
import itertools
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from tqdm import tqdm

import main_init
import main_robustness
import main_train
import report
from dataset import Images, draw_epoch, visits
from lottery.checkpointing.checkpoint import read
from lottery.readers.registry import read_source
from lottery.training import image_loader
from lottery.training.loop import fit
from lottery.training.progress import WAITING_BAR, Progress
from lottery.training.recipe import Recipe, batches
from lottery.training.step import Step, copy_weights
from lottery.training.streamed_images import Waiting, streamed_images
from tests.helpers import (
    Killed,
    assert_same,
    assert_same_files,
    checkpoints,
    one_sentence,
    run,
    run_in_process,
    run_killed,
    run_to,
)
from tests.networks import tiny
from tests.readers.helpers import save_photos
from utils import RunError

CPU = torch.device("cpu")
TRAINED = (
    "--arch tests.networks:tiny --epochs 4 --decreasing_lr 2,3 --batch_size 24 --warmup 1 --image_size 12 --gpu -1"
)
SEARCH = "--pruning_times 2 --prune_type rewind_lt --rewind_iteration 2 --rewind_lr"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return save_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def flags(photos):
    return f"--dataset imagenet --data {photos} {TRAINED}"


def streamed(photos, workers=0, augmentation="resized_crop"):
    source = read_source("imagenet", photos, 12, data_in="files", augmentation=augmentation)
    return streamed_images(CPU, source, augmented=True, workers=workers)


# --- whole runs -------------------------------------------------------------------------------------------------------


def test_a_search_with_and_without_processes_and_killed(tmp_path, flags, monkeypatch):
    """PrAC sets, rounds that begin within an epoch, forgetting events."""
    words = f"{flags} {SEARCH} --save_interval 0"
    run("PrAC", f"{words} --workers 0", tmp_path / "none")
    run("PrAC", f"{words} --workers 2", tmp_path / "two")
    run_killed(monkeypatch, "PrAC", f"{words} --workers 0", tmp_path / "killed", every=3)
    assert_same_files(tmp_path / "none", tmp_path / "two")
    assert_same_files(tmp_path / "none", tmp_path / "killed")
    saved = checkpoints(tmp_path / "none")[-1]
    assert (saved["settings"]["data_in"], saved["settings"]["augmentation"]) == ("files", "resized_crop")
    assert "workers" not in saved["settings"]


def test_a_run_that_was_killed_within_an_epoch_goes_on(tmp_path, flags, monkeypatch):
    steps = itertools.count()

    def killed(self, visits):
        if next(steps) == 6:  # in the second epoch of four steps each
            raise Killed
        real(self, visits)

    real, words = Step.__call__, f"{flags} --workers 1 --save_interval 0"
    run("train", words, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Step, "__call__", killed)
        run("train", words, tmp_path / "killed")
    run("train", words, tmp_path / "killed")
    assert_same_files(tmp_path / "whole", tmp_path / "killed")


def test_with_crop_a_run_from_files_is_the_one_in_memory(tmp_path, flags):
    for place in ("memory", "files"):
        run("train", f"{flags} --data_in {place} --augmentation crop --batch_selection infobatch", tmp_path / place)
    one, other = (read(tmp_path / place / "checkpoint.pth.tar") for place in ("memory", "files"))
    assert_same(one["state_dict"], other["state_dict"], "state_dict")
    assert [row["loss"] for row in one["history"]] == [row["loss"] for row in other["history"]]


def test_without_augmentation_training_sees_what_evaluation_does(tmp_path, flags, monkeypatch):
    def forbidden(*_):
        raise AssertionError("a random view")

    monkeypatch.setattr("lottery.readers.image_files.ImageFiles.random_view", forbidden)
    run("train", f"{flags} --epochs 2 --decreasing_lr 1 --no_augmentation --workers 0", tmp_path)


def test_a_damaged_image_is_named_and_the_run_goes_on_once_it_is_mended(tmp_path, photos):
    copy = shutil.copytree(photos, tmp_path / "photos")
    flags = f"--dataset imagenet --data {copy} {TRAINED} --workers 0 --save_interval 0"
    run("train", flags, tmp_path / "whole")
    file = copy / "train" / "n1" / "40.JPEG"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert "n1/40.JPEG is not a readable image" in run("train", flags, tmp_path / "run", expect=1)
    file.write_bytes(content)
    run("train", flags, tmp_path / "run")
    assert_same_files(tmp_path / "whole", tmp_path / "run")


def test_other_scripts_take_files_too(tmp_path, flags):
    data = flags.split(" --epochs", maxsplit=1)[0] + " --image_size 12"
    words = f"{data} --batch_size 24 --criterion snip --density 0.5 --workers 0 --save_dir {tmp_path}/init"
    run_to(0, main_init, *words.split())
    run("PrAC", f"{flags} --epochs 2 --decreasing_lr 1 --pruning_times 1 --workers 0", tmp_path / "PrAC")
    run_to(0, main_robustness, *f"{tmp_path}/PrAC --examples 8 --pgd_steps 1 --gpu -1".split())
    assert "no examples" not in run_to(0, report, tmp_path / "PrAC", "--output", tmp_path / "report")


@pytest.mark.parametrize(
    "words, message",
    [
        ("--dataset digits --data_in files", "for image folders .* got --dataset digits"),
        ("--dataset imagefolder --data {photos} --data_in files", "--data_in files needs --image_size"),
        ("--dataset digits --workers 2", "--data_in memory keeps all images in memory"),
        ("--dataset digits --augmentation resized_crop", "resized_crop needs --data_in files"),
        ("--dataset imagenet --data {photos} --augmentation crop --no_augmentation", "contradict each other"),
        ("--dataset imagenet --data nowhere", "nowhere is not a folder; give the one that holds train/ and val/"),
        ("--dataset imagenet --data {photos} --workers -1", "--workers"),
        ("--dataset imagenet --data {photos} --image_size 4", "between 8 and 512"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, photos, words, message):
    def call(_, *flags):
        return run_in_process(main_train, *flags)

    one_sentence(call, "main_train", words.format(photos=photos).split(), tmp_path, message)


# --- the images -------------------------------------------------------------------------------------------------------


def epoch_of(train, number, n=81):
    return visits(torch.arange(n), draw_epoch(n, train.padding, train.flips, (0, 0, number)))


def test_the_rest_of_an_epoch_has_the_images_that_the_whole_one_has(photos):
    train, _ = streamed(photos)
    train.reserve_(24)
    now, plan = epoch_of(train, 1), batches(81, 24)
    whole = [train.training_images(batch).clone() for batch in train.training_batches(now, plan, (0, 0, 1))]
    rest = [train.training_images(batch).clone() for batch in train.training_batches(now, plan[2:], (0, 0, 1))]
    assert [len(images) for images in whole] == [24, 24, 24, 9]
    assert_same(rest, whole[2:], "images")
    others = [train.training_images(batch).clone() for batch in train.training_batches(now, plan, (0, 0, 2))]
    assert not torch.equal(others[0], whole[0])


def test_every_batch_lies_at_the_same_address_and_can_be_cut(photos):
    train, _ = streamed(photos)
    train.reserve_(20)
    now, plan = epoch_of(train, 0), batches(81, 20)
    assert plan[-1].stop - plan[-1].start == 21  # one more than a batch
    place = train.buffer.data_ptr()
    for batch in train.training_batches(now, plan, (0, 0, 0)):
        whole = train.training_images(batch)
        assert torch.equal(whole, train.buffer[: len(whole)])
        assert torch.equal(train.training_images(batch[:, 7:12]), whole[7:12])
    assert train.buffer.data_ptr() == place


def test_each_rank_reads_the_images_of_its_own_shards(photos, monkeypatch):
    """Of four shards; the last batch, of 5 images, has two, and the second rank looks at the first of these as well."""
    train, _ = streamed(photos)
    train.reserve_(19, shards=4)
    now, plan = epoch_of(train, 0), batches(81, 19)
    whole = [train.training_images(batch).clone() for batch in train.training_batches(now, plan, (0, 0, 0))]
    assert [len(images) for images in whole] == [19, 19, 19, 19, 5]
    monkeypatch.setattr("lottery.ranks.count", lambda: 2)
    load, asked = train.loader.load, []
    monkeypatch.setattr(train.loader, "load", lambda pieces: load(asked.append(piece) or piece for piece in pieces))
    for rank, own in enumerate([(slice(0, 9), slice(0, 5)), (slice(9, 19), slice(0, 2))]):
        monkeypatch.setattr("lottery.ranks.rank", lambda number=rank: number)
        train.buffer.zero_()
        asked.clear()
        for batch, images in zip(train.training_batches(now, plan, (0, 0, 0)), whole, strict=True):
            places = own[len(images) == 5]
            assert torch.equal(train.training_images(batch[:, places]), images[places])
        read = [example for piece in asked for _, (example, _) in piece]
        assert read == [int(example) for batch in plan for example in now[0, batch][own[batch.stop == 81]]]


def test_ranks_of_a_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(24), raising=False)
    for ranks, workers in [(1, 16), (4, 6), (64, 1)]:
        monkeypatch.setattr("lottery.ranks.local_count", lambda count=ranks: count)
        assert image_loader.default_workers() == workers


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_are_asked_for_and_left_do_not_come_later(photos, workers, monkeypatch):
    monkeypatch.setattr(image_loader, "PIECE", 8)
    monkeypatch.setattr("lottery.training.streamed_images.PIECE", 8)
    train, test = streamed(photos, workers)
    train.reserve_(24)
    left = train.training_batches(epoch_of(train, 0), batches(81, 24), (0, 0, 0))
    next(left)
    expected = torch.from_numpy(np.stack(list(test.files)))
    assert torch.equal(test.at(torch.arange(12)), expected)
    with pytest.raises(AssertionError, match="still to come"):
        next(left)
    found = torch.cat([images for images, _ in test.batches(torch.arange(12).split(5))])
    assert torch.equal(found, expected) and torch.equal(test.at(slice(5)), expected[:5])
    assert torch.equal(test.at(slice(500)), expected)


def test_loading_draws_nothing_from_torchs_generator(photos):
    before = torch.get_rng_state()
    streamed(photos)[1].at(slice(4))
    assert torch.equal(before, torch.get_rng_state())


def test_a_process_that_ends_is_told_of(photos):
    train, _ = streamed(photos, workers=1)
    train.at(torch.arange(3))
    (worker,) = train.loader.loaders[0]._iterator._workers
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RunError, match=r"a process that reads images has ended .* --workers"):
        for _ in range(9):
            train.at(torch.arange(81))


def test_processes_end_with_their_images(photos):
    train, test = streamed(photos, workers=1)
    train.at(torch.arange(3))
    (worker,) = train.loader.loaders[0]._iterator._workers
    assert worker.is_alive()
    del train, test
    gc.collect()
    worker.join(10)
    assert not worker.is_alive()


def test_a_step_learns_from_files(photos):
    """To the bit as from the same views in memory."""
    train, _ = streamed(photos)
    train.reserve_(27)
    views = np.stack([train.files.view((i, (5, 2, 0))) for i in range(81)])
    recipe, found = Recipe(epochs=1, batch_size=27, lr=0.1, milestones=()), []
    for data in (train, Images(torch.from_numpy(views), train.labels)):
        torch.manual_seed(0)
        step = Step(tiny(3), data, recipe)
        (epoch,) = fit(step, torch.arange(81), recipe, seed=5, round=2)
        found.append([epoch.loss, epoch.right, copy_weights(step.model)])
    assert_same(*found, "epoch")


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_the_share_of_waiting(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("lottery.training.streamed_images.time.perf_counter", lambda: now[0])

    def pieces():
        for _ in range(3):
            now[0] += 1
            yield torch.empty(1)

    waiting = Waiting()
    for _ in waiting.timed(pieces()):
        now[0] += 3
    assert waiting.share == 3 / 12


@pytest.mark.parametrize("share, words", [(0.38, "waiting for data 38 %"), (0.01, "")])
def test_the_bar_says_that_data_are_waited_for(share, words):
    class Bar:
        def set_postfix_str(self, words, refresh):
            self.words = words

        def update(self, times): ...

    progress = Progress()
    progress.bar, progress.waiting = Bar(), lambda: share
    progress.tick()
    assert progress.bar.words == words


@pytest.mark.parametrize("columns, form", [(80, WAITING_BAR), (105, None)])
def test_a_narrow_bar_keeps_the_number(monkeypatch, columns, form):
    monkeypatch.setattr("lottery.training.progress.terminal_width", lambda _: columns)
    progress = Progress()
    progress.bar, progress.waiting = tqdm(total=1, disable=False, file=io.StringIO()), lambda: 0.5
    progress.describe("round 12, epoch 100/182")
    assert progress.bar.bar_format == form
