"""One run on several processes: the same files as by one, to the bit, whatever befalls them; and one that speaks."""

import re

import pytest

import main_channels
from lottery.checkpointing.checkpoint import read
from tests.helpers import SCRIPTS, assert_same_files, run, run_in_process, run_to
from tests.ranks import started, torchrun, wait
from tests.readers.helpers import save_photos

FLAGS = "--dataset digits --arch tests.ranks:faulty --epochs 3 --decreasing_lr 2 --gpu -1"
SEARCH = f"{FLAGS} --prune_type rewind_lt --rewind_epoch 0 --pruning_times 2 --save_interval 0 --shards 2"
SEARCH += " --batch_size 215"  # the last of seven batches has 3 examples, too few for two shards
FILES = f"{FLAGS} --image_size 12 --save_interval 0 --shards 4 --batch_selection infobatch --selection_until 1"
FILES += " --batch_size 17"  # the last of five batches has 4 examples, for two of the shards


def ranks(count, script, flags, save_dir, *more, **options):
    """Run a script on so many ranks: their statuses, and what they said."""
    log = save_dir.with_name(f"{save_dir.name}.log")
    return torchrun(count, log, script, *flags.split(), *more, "--save_dir", save_dir, **options)


def fault(kind, passes, rank=1):
    return {"FAULT": kind, "FAULTY_RANK": str(rank), "FAULTY_PASS": str(passes)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The search by one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    run("PrAC", SEARCH, folder)
    return folder


def test_two_ranks_search_as_one_process_does_and_one_speaks(alone, tmp_path):
    statuses, said = ranks(2, "main_PrAC_imp.py", SEARCH, tmp_path / "run")
    assert statuses == [0, 0]
    assert_same_files(alone, tmp_path / "run")
    assert said.count("seed 0, torch") == said.count("the newest ticket") == 1
    assert said.count("main_train.py") == 1


def test_two_ranks_of_which_one_uses_a_layer_train_as_one_process_does(tmp_path):
    flags = "--dataset digits --arch tests.networks:LeavesOut --epochs 2 --batch_size 215 --shards 2 --gpu -1"
    run("train", flags, tmp_path / "alone")
    assert ranks(2, "main_train.py", flags, tmp_path / "both").statuses == [0, 0]
    assert_same_files(tmp_path / "alone", tmp_path / "both")


def test_a_rank_is_killed_and_all_are_started_again(alone, tmp_path):
    """In the second round. The --overwrite of the command is carried out once."""
    (tmp_path / "run").mkdir()
    statuses, said = ranks(
        2, "main_PrAC_imp.py", SEARCH, tmp_path / "run", "--overwrite", restarts=1, environment=fault("dies", 34)
    )
    assert statuses == [0, 0]
    assert said.count("going on from") == said.count("1checkpoint.pth.tar: round 1") == 1
    assert_same_files(alone, tmp_path / "run")


def test_what_two_ranks_began_one_process_ends(alone, tmp_path):
    statuses, said = ranks(2, "main_PrAC_imp.py", SEARCH, tmp_path / "run", environment=fault("dies", 18, rank=0))
    assert statuses[0] == -9 and statuses[1] != 0 and "Traceback" not in said
    assert "going on from" in run("PrAC", SEARCH, tmp_path / "run")
    assert_same_files(alone, tmp_path / "run")


def test_four_ranks_train_from_files_and_one_process_goes_on(tmp_path):
    """Each reads images of its own. Examples are left out by losses that ranks have seen apart; the last batch has
    fewer shards than there are."""
    words = f"{FILES} --dataset imagenet --data {save_photos(tmp_path / 'photos')}"
    run("train", words, tmp_path / "alone")
    statuses, _ = ranks(4, "main_train.py", f"{words} --workers 0", tmp_path / "ranks", environment=fault("dies", 9))
    assert statuses[1] == -9 and read(tmp_path / "ranks" / "checkpoint.pth.tar")["epoch"] == 1
    assert "going on from" in run("train", f"{words} --workers 1", tmp_path / "ranks")
    assert_same_files(tmp_path / "alone", tmp_path / "ranks")
    rows = read(tmp_path / "alone" / "checkpoint.pth.tar")["history"]
    assert len({row["examples"] for row in rows}) > 1, "some examples are left out"


def test_a_weight_that_differs_on_one_rank_ends_the_run_with_the_epoch(alone, tmp_path):
    statuses, said = ranks(2, "main_PrAC_imp.py", SEARCH, tmp_path / "run", environment=fault("changes", 12))
    assert statuses[0] == 1 and statuses[1] != 0, said
    assert said.count("error: rank 1 has other weights or masks than rank 0") == 1 and "Traceback" not in said
    assert read(tmp_path / "run" / "0checkpoint.pth.tar")["epoch"] == 1, "the epoch before is there"
    run("PrAC", SEARCH, tmp_path / "run")
    assert_same_files(alone, tmp_path / "run")


def test_another_learning_rate_is_refused_by_all_and_said_once(alone):
    before = {file: file.read_bytes() for file in alone.iterdir()}
    statuses, said = ranks(2, "main_PrAC_imp.py", f"{SEARCH} --lr 0.01", alone)
    assert statuses[0] == 2 and statuses[1] != 0
    assert len(said.splitlines()) == 1 and "lr was 0.1, is 0.01" in said
    assert before == {file: file.read_bytes() for file in alone.iterdir()}


def test_a_signal_ends_all_ranks_with_one_line(alone, tmp_path):
    long = SEARCH.replace("--epochs 3", "--epochs 3000")
    words = ["main_PrAC_imp.py", *long.split(), "--save_dir", tmp_path / "run"]
    with started(2, log := tmp_path / "log", words) as running:
        while not (tmp_path / "run" / "0model_SA_best.pth.tar").exists():
            assert running[0].poll() is None
        for process in running:
            process.terminate()
        assert wait(running) == [143, -15]
    complaint = next(line for line in log.read_text().splitlines() if line.startswith("main_PrAC_imp.py: "))
    assert complaint.startswith("main_PrAC_imp.py: terminated; what it found is kept. To go on: torchrun --nproc-per")
    assert log.read_text().count("terminated") == 1 and "Traceback" not in log.read_text()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def rank(monkeypatch):
    """Makes this process one of torchrun's."""

    def become(number, count):
        for name, value in {"TORCHELASTIC_RUN_ID": "test", "RANK": number, "WORLD_SIZE": count,
                            "LOCAL_RANK": number, "LOCAL_WORLD_SIZE": count}.items():  # fmt: skip
            monkeypatch.setenv(name, str(value))

    monkeypatch.setattr("lottery.ranks.GRACE", 0.0)
    return become


@pytest.mark.parametrize("script", ["imp", "PrAC", "train"])
@pytest.mark.parametrize(
    "count, flags, message",
    [
        (1, "--shards 3", "--shards must be a power of two, such as 2 or 4, got 3"),
        (1, "--shards 8 --batch_size 15", "--shards 8 needs a --batch_size of at least 16, .*, got 15"),
        (2, "", r"started 2 ranks, --shards 1 has not one for each: give --shards 2, or a larger power of two"),
        (4, "--shards 2", "started 4 ranks, --shards 2 has not one for each: give --shards 4"),
        (3, "--shards 4", "started 3 ranks, a power of two is needed"),
        (2, "--shards 2 --gpu 0", "--gpu 0 is one GPU for 2 ranks: leave it out"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(tmp_path, rank, script, count, flags, message):
    rank(0, count)
    words = f"--dataset digits {flags} --save_dir {tmp_path / 'run'}".split()
    status, out, err = run_in_process(SCRIPTS[script], *words)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert re.search(message, err), err
    assert not (tmp_path / "run").exists()


def test_a_script_of_one_process_is_refused(tmp_path, rank):
    rank(0, 2)
    said = run_to(2, main_channels, "--save_dir", tmp_path / "run")
    assert "torchrun started 2 processes, this script computes in one: start it by python" in said


def test_another_rank_says_which_one_it_is_if_nothing_ends_it(tmp_path, rank):
    rank(1, 2)
    assert "main_imp.py: rank 1: error: --shards must" in run("imp", "--shards 3", tmp_path / "run", expect=2)
