"""The command that a search prints at its end: it trains the ticket as the search trains."""

import shlex

import pytest

from lottery.cli import imp, init, prac_imp, train
from lottery.cli.retraining import words_of
from tests.helpers import SCRIPTS, run_in_process

COMMON = "--dataset digits --arch lenet300 --epochs 1 --decreasing_lr= --lr 0.3 --batch_size 64 --gpu -1 --seed 2"
SEARCH = f"{COMMON} --pruning_times 1 --prune_type rewind_lt --rewind_epoch 0"


def printed_command(out: str) -> list[str]:
    """The words behind `python main_train.py` of the line that begins so."""
    (line,) = (line for line in out.splitlines() if line.startswith("  python "))
    python, script, *words = shlex.split(line)
    assert (python, script) == ("python", "main_train.py")
    return words


def test_the_printed_command_trains_the_ticket_with_the_searchs_recipe(tmp_path):
    folder = tmp_path / "a search"
    status, out, err = run_in_process(SCRIPTS["imp"], *SEARCH.split(), "--overwrite", "--save_dir", folder)
    assert status == 0, err
    words = printed_command(out)
    found, wanted = train.read_config(words), imp.read_config([*SEARCH.split(), "--save_dir", "x"])
    assert found.training.recipe == wanted.training.recipe and found.training.run.seed == 2
    assert found.ticket.init_dir == found.ticket.mask_dir == folder / "1checkpoint.pth.tar"
    assert found.training.run.save_dir == tmp_path / "a search_retrain_1" and not found.training.run.overwrite
    status, out, err = run_in_process(SCRIPTS["train"], *words)
    assert status == 0 and "density 0.8000" in out, err


def test_tickets_of_short_rounds_are_trained_for_as_long_as_their_cost_counts():
    words = "--epochs 2 --schedule linear --vanilla_epochs 20 --save_dir x".split()
    assert " ".join(imp.read_config(words).training.run.retraining).endswith("--schedule linear --epochs 20")


def test_their_learning_rate_drops_at_the_same_shares_of_that():
    words = "--epochs 6 --decreasing_lr 3,5 --warmup 1 --vanilla_epochs 40 --save_dir x".split()
    printed = imp.read_config(words).training.run.retraining
    found = train.read_config([*printed[2:], "--save_dir", "y"]).training.recipe
    assert (found.epochs, found.milestones, found.warmup) == (40, (20, 33), 6)
    plain = imp.read_config("--epochs 6 --decreasing_lr= --vanilla_epochs 40 --save_dir x".split()).training.run
    assert plain.retraining[2:] == ("--epochs", "40", "--decreasing_lr=")


def test_how_many_examples_are_scored_at_a_time_says_nothing_of_training():
    words = "--dataset digits --criterion snip --density 0.5 --batch_size 10 --save_dir x".split()
    assert init.read_config(words).run.retraining[2:] == ("--dataset", "digits")


def test_what_is_the_searchs_own_is_left_out():
    words = (
        f"{COMMON} --prune_type lt --new_classifier --init_dir utils.py --eb_eps=0.1 --batch_selection infobatch "
        "--save_interval=0 --selection_rate 0.3 --vanilla_epochs 3 --tensorboard --save_dir x"
    )
    parser = prac_imp.parser()
    kept = words_of(train.parser().flag_names - {"init_dir", "save_dir", "new_classifier"}, words.split(), parser)
    assert " ".join(kept) == (
        f"{COMMON} --batch_selection infobatch --save_interval=0 --selection_rate 0.3 --tensorboard"
    )


@pytest.mark.parametrize("module, more", [(imp, ""), (init, "--criterion random --density 0.5")])
def test_a_ticket_trains_on_all_the_data_by_the_whole_schedule(module, more):
    """A network pruned before training has no schedule of its own."""
    searched = "--prune_type rewind_lt --rewind_lr --batch_selection infobatch --epochs 9 --decreasing_lr 3"
    given = searched if module is imp else ""
    config = module.read_config(f"--save_dir x --dataset digits {given} {more}".split())
    run = config.run if module is init else config.training.run
    words = shlex.split(run.retraining_command("y.pth.tar", "_3"))[2:]
    assert not {"--batch_selection", "--rewind_lr"} & {*words} and words[-2:] == ["--save_dir", "x_retrain_3"]
    assert words[: 2 + 4 * (module is imp)] == f"--dataset digits {given.partition('infobatch ')[2]}".split()


@pytest.mark.parametrize("given, beside", [(".", "here_retrain"), ("..", "../{}_retrain"), ("x/", "here/x_retrain")])
def test_the_directory_is_beside_the_searchs_own(tmp_path, monkeypatch, given, beside):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = imp.read_config(["--save_dir", given, "--dataset", "digits"]).training.run
    directory = (tmp_path / "here" / shlex.split(run.retraining_command("y.pth.tar"))[-1]).resolve()
    assert directory == (tmp_path / beside.format(tmp_path.name)).resolve()
