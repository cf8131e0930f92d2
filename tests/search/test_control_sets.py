"""Controls for the PrAC set: the members by hand, runs that follow another one, and what cannot be followed."""

import itertools
import re
import shlex
import shutil

import numpy as np
import pytest
import torch

import pruner
from dataset import el2n, highest, random_by_class
from lottery.reports.chapters.prac_sets import prac_set_parts
from lottery.reports.comparison.methods import group_by_task
from lottery.results.runs import read_runs
from lottery.search.control_sets import ControlSets, has_others
from lottery.search.examples import RoundEnd
from lottery.search.prac_sets import PracSets
from lottery.search.schedule import nearest_epochs
from lottery.study.config import read_study
from lottery.study.runner import check_jobs, slurm_script
from lottery.training.evaluation import Evaluator
from tests.helpers import (
    IMP,
    PRAC,
    ROOT,
    SAVING,
    assert_same_files,
    checkpoints,
    logged,
    made,
    masks,
    names,
    one_sentence,
    retrained,
    run,
    run_killed,
    write_study,
)
from utils import InputError

# --- members by hand --------------------------------------------------------------------------------------------------

WHOLE = torch.tensor([1, 2, 4, 5, 7, 8, 10, 11])  # D0; 0, 3, 6 and 9 validate
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 0, 0, 2, 2, 1, 1])  # of D0: 0 0 1 1 0 2 1 1
LIKE = torch.tensor([1, 4, 5])  # the set that is followed: one of class 0, two of class 1
CURRENT = torch.tensor([1, 2, 4, 7])  # this control's own set of the round before


def policy(members, like=LIKE, errors=None, early=1, seed=0, cep="trained"):
    own = PracSets(WHOLE, 12, data_prune="zero_out", threshold=0, data_rate=0.2, cep=cep, seed=seed)
    return ControlSets([WHOLE, like, like], members, own, LABELS, early, errors, seed)


def round_end(k=1, **looks):
    parts = {name: lambda name=name: torch.tensor(looks[name]) for name in ("best", "final", "pruned")}
    return RoundEnd(k, CURRENT, **parts)


def draws(members, **changes):
    """What many seeds choose."""
    return [policy(members, seed=seed, **changes).next(round_end()) for seed in range(40)]


def test_random_members_have_the_classes_of_the_set_and_come_from_all():
    found = draws("random")
    assert {example for chosen, _ in found for example in chosen.tolist()} == {1, 2, 7, 4, 5, 10, 11}
    for chosen, report in found:
        assert LABELS[chosen].sort().values.tolist() == [0, 1, 1]
        assert report["next_set"] == report["as_members"] == 3 and report["filled"] == report["cut"] == 0
        assert report["in_run_set"] == len({1, 4, 5} & set(chosen.tolist()))


def test_easy_members_are_those_that_the_set_leaves_out():
    for chosen, report in draws("easy"):
        assert set(chosen.tolist()) <= {2, 7, 10, 11} and report["in_run_set"] == 0
        assert LABELS[chosen].sort().values.tolist() == [0, 1, 1]


def test_another_class_fills_up_what_the_class_of_easy_members_lacks():
    """Three of the four examples of class 1 are in the set: one is left, and the others come from 0 and 2."""
    found = draws("easy", like=torch.tensor([4, 5, 10]))
    assert all(11 in chosen and len(chosen) == 3 for chosen, _ in found)
    assert all(report["as_members"] == 1 and report["filled"] == 2 for _, report in found)
    assert {example for chosen, _ in found for example in chosen.tolist()} == {1, 2, 7, 8, 11}


def test_a_set_of_most_examples_has_all_easy_members_and_some_of_its_own():
    """Five of eight examples are in the set, and the three others in each of its controls."""
    found = draws("easy", like=torch.tensor([1, 4, 5, 10, 11]))
    assert all({2, 7, 8} <= set(chosen.tolist()) and len(set(chosen.tolist())) == 5 for chosen, _ in found)
    assert all(report["as_members"] == 1 and report["in_run_set"] == 2 for _, report in found), "one of class 0"
    assert {example for chosen, _ in found for example in chosen.tolist()} == {1, 2, 4, 5, 7, 8, 10, 11}


def test_members_by_error_are_those_of_the_dense_network_early():
    errors = iter([torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.0, 0.0])])
    control = policy("el2n", errors=lambda: next(errors), early=2)
    for _ in range(3):  # epochs of round 0: the errors are taken after the second, and once
        assert (control.errors is not None) == (control.epochs >= 2)
        control.observe(WHOLE, torch.ones(8, dtype=torch.bool))
    looks = []
    for k in (0, 1):
        end = round_end(k)
        assert control.next(end)[0].tolist() == [2, 5, 8]
        control.begin_round()
        looks.append(end.looks)
    assert looks == [1, 0], "the forward passes are in the books of round 0"


RIGHT = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1]], dtype=torch.bool)


def test_members_by_forgetting_are_of_the_runs_own_set_filled_at_random():
    """1 is forgotten twice, 2 never learned, 4 forgotten once, 7 never forgotten; the others were not trained on."""
    for keep, certain in {1: {2}, 2: {1, 2}, 3: {1, 2, 4}, 5: {1, 2, 4}}.items():
        fillings = set()
        for seed in range(40):
            control = policy("cet", like=WHOLE[:keep], seed=seed)
            control.begin_round()
            for right in RIGHT:
                control.observe(CURRENT, right)
            chosen, report = control.next(round_end())
            assert certain <= set(chosen.tolist()) and len(chosen) == keep
            assert (report["as_members"], report["filled"]) == (len(certain), keep - len(certain))
            assert report["cut"] == 3 - len(certain)
            fillings |= set(chosen.tolist()) - certain
        assert fillings == ({5, 7, 8, 10, 11} if keep == 5 else set())


DENSE, SPARSE = [0] * 8, [0, 0, 2, 0, 1, 0, 0, 3]  # they disagree on 4, 7 and 11


@pytest.mark.parametrize("keep, own, filled, cut", [(2, 2, 0, 1), (3, 3, 0, 0), (5, 3, 2, 0)])
def test_members_by_cep_are_cut_or_filled_at_random(keep, own, filled, cut):
    choices = set()
    for seed in range(30):
        control = policy("cep", like=WHOLE[:keep], seed=seed)
        control.next(round_end(0, best=DENSE))
        chosen, report = control.next(round_end(1, best=SPARSE))
        assert len({4, 7, 11} & set(chosen.tolist())) == own == report["as_members"]
        assert (len(chosen), report["filled"], report["cut"]) == (keep, filled, cut)
        choices.add(tuple(chosen.tolist()))
    assert len(choices) > 2 or keep == 3


def test_members_by_cep_are_random_after_the_dense_round_unless_it_is_algorithm_1():
    assert policy("cep").next(round_end(0, best=DENSE))[1]["filled"] == 3
    chosen, report = policy("cep", cep="pruned").next(round_end(0, final=DENSE, pruned=SPARSE))
    assert chosen.tolist() == [4, 7, 11] and report["filled"] == 0


def test_equals_are_drawn_from_all_of_them_whatever_their_place():
    indices, scores = torch.arange(100), torch.zeros(100)
    scores[50] = 1
    means = [highest(indices, scores, 10, np.random.default_rng(seed)).double().mean() for seed in range(50)]
    assert 45 < torch.stack(means).mean() < 54, "not the first ones, which may all be of one class"
    assert all(50 in highest(indices, scores, 10, np.random.default_rng(seed)) for seed in range(50))


def test_drawing_by_class_against_a_slow_loop():
    """Of each class as many as asked for, or all there are; so many in all; sorted, each once."""
    random = np.random.default_rng(0)
    for seed in range(50):
        labels = torch.from_numpy(random.integers(0, 4, 60))
        pool = torch.from_numpy(np.sort(random.permutation(60)[:40]))
        counts = random.multinomial(20, random.dirichlet(np.ones(4))).tolist()
        chosen = random_by_class(pool, labels, counts, np.random.default_rng(seed)).tolist()
        assert len(chosen) == 20 and chosen == sorted(set(chosen)) and set(chosen) <= set(pool.tolist())
        for label, wanted in enumerate(counts):
            there = sum(int(labels[i]) == label for i in pool.tolist())
            assert sum(int(labels[i]) == label for i in chosen) >= min(wanted, there)


def test_el2n_by_hand():
    """softmax (0.7, 0.2, 0.1), label 1: the length of (0.7, -0.8, 0.1); sure and right 0, sure and wrong sqrt 2."""
    logits = torch.tensor([[0.7, 0.2, 0.1], [1.0, 1e-9, 1e-9], [1.0, 1e-9, 1e-9]]).log()
    expected = torch.tensor([0.7**2 + 0.8**2 + 0.1**2, 0.0, 2.0]).sqrt()
    torch.testing.assert_close(el2n(logits, torch.tensor([1, 0, 2])), expected, atol=1e-6, rtol=1e-6)


def test_errors_and_classes_are_of_the_same_predictions(tiny, images):
    chosen = torch.tensor([3, 7, 20, 39])
    evaluator = Evaluator(tiny)
    errors, right = evaluator.el2n(images, chosen), evaluator(images, chosen) == images.labels[chosen]
    tiny.eval()
    with torch.no_grad():
        logits = tiny(images.images[chosen].permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(errors, el2n(logits, images.labels[chosen]))
    assert (errors[right] < 1).all() and (errors[~right] > 0.5**0.5).all()


@pytest.mark.parametrize("steps, epochs", [(0, 1), (9, 1), (14, 1), (15, 2), (24, 2), (25, 3), (200, 20)])
def test_the_nearest_epochs(steps, epochs):
    assert nearest_epochs([steps], 10) == (epochs,)


def test_a_set_of_all_examples_has_no_other_members():
    """Of random ones also a set of all examples of its classes; errors and forgetting may choose from other classes."""
    of_classes_0_and_2 = torch.tensor([1, 2, 7, 8])
    for members, like, others in [
        ("random", LIKE, True),
        ("random", of_classes_0_and_2, False),
        ("el2n", of_classes_0_and_2, True),
        ("random", WHOLE, False),
        ("easy", WHOLE, False),
        ("easy", LIKE, True),
    ]:
        assert has_others(members, like, WHOLE, LABELS) == others
        if not others:
            assert all(set(chosen.tolist()) == set(like.tolist()) for chosen, _ in draws(members, like=like))


# --- runs that follow another one -------------------------------------------------------------------------------------

SETTINGS = "--dataset digits --arch lenet300 --epochs 6 --decreasing_lr 3,5 --batch_size 64 --warmup 1 --gpu -1"
SETTINGS += " --prune_type rewind_lt --rewind_epoch 0 --pruning_times 2 --prac_epochs fixed"
STOPS = "--eb_eps 0.3 --eb_arm none --queue_length 2"  # ends each round after its fourth epoch
ALL_MEMBERS = ("random", "easy", "el2n", "cet", "cep")


def like(path, members):
    return f"{SETTINGS} --like_run {path} --members {members}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished PrAC run, a control of each kind for it, and IMP with its steps."""
    folder = tmp_path_factory.mktemp("controls")
    run("PrAC", f"{SETTINGS} {STOPS}", folder / "PrAC")
    for members in ALL_MEMBERS:
        run("PrAC", like(folder / "PrAC", members), folder / members)
    (folder / "said").write_text(run("imp", f"{SETTINGS} --steps_of {folder / 'PrAC'}", folder / "steps"))
    return folder


def test_a_control_has_the_sizes_steps_and_ends_of_its_run_and_other_members(runs):
    followed = checkpoints(runs / "PrAC")
    rows = followed[-1]["rounds"]
    assert all(row["stopped"] for row in rows) and rows[1]["set"] < rows[0]["set"], "or it proves little"
    same = ("set", "epochs", "epochs_planned", "steps", "steps_per_epoch", "examples", "stopped", "kept")
    chosen = {}
    for members in ALL_MEMBERS:
        found = checkpoints(runs / members)
        assert len(found) == 3 and found[0]["sequence"].tolist() == followed[0]["sequence"].tolist()
        for ours, theirs in zip(found[-1]["rounds"], rows, strict=True):
            assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
            assert ours["as_members"] + ours["filled"] == ours["next_set"] == theirs["next_set"]
        for ours, theirs in zip(found, followed, strict=True):
            assert [row["lr"] for row in ours["history"]] == [row["lr"] for row in theirs["history"]]
            assert set(ours["sequence"].tolist()) <= set(followed[0]["sequence"].tolist())
        chosen[members] = tuple(tuple(saved["sequence"].tolist()) for saved in found[1:])
    assert len(set(chosen.values())) == len(ALL_MEMBERS)


def test_random_and_easy_members_have_the_classes_of_their_runs_sets(runs):
    for members, shared in (("random", None), ("easy", 0)):
        for ours, theirs in zip(checkpoints(runs / members)[1:], checkpoints(runs / "PrAC")[1:], strict=True):
            row, set_ = ours["rounds"][-1], set(theirs["sequence"].tolist())
            assert row["in_run_set"] == len(set_ & set(ours["sequence"].tolist())) and row["in_run_set"] in (
                [shared] if shared is not None else range(1, len(set_))
            )
        rows = checkpoints(runs / members)[-1]["rounds"], checkpoints(runs / "PrAC")[-1]["rounds"]
        assert all(a["class_counts"] == b["class_counts"] for a, b in zip(*rows, strict=True) if not a.get("filled"))


def test_the_forward_passes_of_a_control_are_in_its_books(runs):
    passes = {members: [row["forward_passes"] for row in checkpoints(runs / members)[-1]["rounds"]]
              for members in ALL_MEMBERS}  # fmt: skip
    assert passes == {"random": [0, 0], "easy": [0, 0], "el2n": [1293, 0], "cet": [0, 0], "cep": [1293, 1293]}


def test_imp_with_the_steps_of_a_prac_run_is_imp_on_a_shorter_schedule(runs):
    theirs, found = checkpoints(runs / "PrAC")[-1]["rounds"], checkpoints(runs / "steps")
    for k, (row, other) in enumerate(zip(found[-1]["rounds"], theirs, strict=True)):
        assert row["set"] == 1293 and not row["stopped"]
        assert row["epochs"] == max(1, round(other["steps"] / 21))
        assert abs(row["steps"] - other["steps"]) <= 21 / 2 or row["epochs"] == 1
        assert (
            f"round {k} has {row['epochs']} ({row['steps']} steps for {other['steps']})" in (runs / "said").read_text()
        )
    lr = [[row["lr"] for row in saved["history"]] for saved in found[:2]]
    for epochs, rates in zip((row["epochs"] for row in found[-1]["rounds"]), lr, strict=True):
        drop = max(1, 3 * epochs // 6)
        assert all((rate < 0.05) == (epoch >= drop) for epoch, rate in enumerate(rates)), "milestones in proportion"


@pytest.mark.parametrize("kind", ["el2n", "cep", "steps"])
def test_a_killed_control_ends_where_an_unbroken_one_does(runs, tmp_path, monkeypatch, kind):
    """Also where scores are taken in mid-round and needed in later ones."""
    flags = f"{SETTINGS} --steps_of {runs / 'PrAC'}" if kind == "steps" else like(runs / "PrAC", kind)
    run_killed(monkeypatch, "imp" if kind == "steps" else "PrAC", f"{flags} {SAVING}", tmp_path / "run", every=5)
    assert_same_files(tmp_path / "run", runs / kind)


def test_a_control_is_known_by_what_its_run_did_not_by_where_that_lies(runs, tmp_path):
    shutil.copytree(runs / "PrAC", tmp_path / "moved")
    shutil.copytree(runs / "random", tmp_path / "random")
    assert "this search is finished" in run("PrAC", like(tmp_path / "moved", "random"), tmp_path / "random")
    run("PrAC", f"{SETTINGS} {STOPS} --threshold 1", tmp_path / "other")
    message = r"like_run, round \d was \w{8}, is \w{8}"
    assert re.search(message, run("PrAC", like(tmp_path / "other", "random"), tmp_path / "random", expect=2))
    assert "members was random, is easy" in run("PrAC", like(runs / "PrAC", "easy"), tmp_path / "random", expect=2)


def test_more_rounds_extend_a_control(runs, tmp_path):
    run("PrAC", f"{like(runs / 'PrAC', 'cet')} --pruning_times 1", tmp_path)
    run("PrAC", like(runs / "PrAC", "cet"), tmp_path)
    assert all(map(pruner.same, masks(tmp_path), masks(runs / "cet")))


# --- what cannot be followed ------------------------------------------------------------------------------------------

BAD_CONTROLS = [  # script, flags, what the one sentence must say; {} is a PrAC run, {folder} where other runs lie
    ("PrAC", "--like_run {}", "needs --members: one of random, easy, el2n, cet, cep"),
    ("PrAC", "--members easy", "give it as --like_run DIR"),
    ("PrAC", "--like_run {} --members hard", "hard"),
    ("PrAC", "--like_run nowhere --members easy", "nowhere does not exist"),
    ("PrAC", "--like_run README.md --members easy", "README.md is a file, the directory of a PrAC run is needed"),
    ("PrAC", "--like_run tests --members easy", "tests holds no run of main_PrAC_imp.py"),
    ("PrAC", "--like_run {folder}/steps --members easy", "steps holds no run of main_PrAC_imp.py"),
    ("PrAC", "--like_run {folder}/cet --members easy", "cet did not choose its sets itself"),
    ("PrAC", "--like_run {} --members easy --lr 0.01", "in more than its members: lr was 0.1, is 0"),
    ("PrAC", "--like_run {} --members easy --seed 7", "in more than its members: seed was 0, is 7"),
    ("PrAC", "--like_run {} --members cet --pruning_times 3", "has finished 2 rounds, fewer than --pruning_times 3"),
    ("PrAC", "--like_run {} --members cet --prac_set {}", "--prac_set and --like_run both say"),
    (
        "PrAC",
        "--like_run {} --members cet --threshold 2 --cep none",
        "--like_run gives the sets, --threshold and --cep",
    ),
    ("PrAC", "--like_run {} --members cet --eb_eps 0.1", "--eb_eps 0.1 would end them elsewhere"),
    ("PrAC", "--like_run {} --members cet --val_fraction 0.2", "another split: val_fraction was 0.1, is 0.2"),
    ("PrAC", "--like_run {} --members cet --split_file {folder}/split.npy", "other data or another split: split check"),
    ("PrAC", "--like_run {} --members cet --epochs 7 --batch_size 32", "epochs was 6, is 7; batch_size was 64, is 32"),
    ("imp", "--steps_of {} --batch_size 32", "other steps than this run would have: batch_size was 64, is 32"),
    ("imp", "--steps_of {} --prac_set {} --eb_eps 0.1", "--prac_set and --eb_eps would change that"),
    ("imp", "--steps_of {} --rewind_lr", "--rewind_lr would change that"),
    ("imp", "--steps_of {} --rewind_epoch 4", "--rewind_epoch 4 is not reached: with --steps_of round 0 has only 4 ep"),
    ("imp", "--steps_of {} --pruning_times 3", "has finished 2 rounds, fewer than --pruning_times 3"),
]


@pytest.mark.parametrize("script, words, message", BAD_CONTROLS, ids=[" ".join(case[:2]) for case in BAD_CONTROLS])
def test_what_cannot_be_followed_is_one_sentence(call, runs, tmp_path, monkeypatch, script, words, message):
    monkeypatch.chdir(ROOT)
    np.save(runs / "split.npy", np.random.default_rng(0).permutation(1437))
    words = words.replace("{}", str(runs / "PrAC")).replace("{folder}", str(runs))
    script = {"PrAC": "main_PrAC_imp", "imp": "main_imp"}[script]
    one_sentence(call, script, [*SETTINGS.split(), *words.split()], tmp_path, message)


def test_members_that_the_sets_of_a_run_do_not_allow_are_one_sentence(call, tmp_path):
    """No networks chose the set."""
    short = "--epochs 1 --decreasing_lr 1 --pruning_times 1"
    run("PrAC", f"{SETTINGS} {short} --data_prune constent --data_rate 0.3 --cep none", tmp_path / "large")
    words = f"{like(tmp_path / 'large', 'cep')} {short}".split()
    one_sentence(call, "main_PrAC_imp", words, tmp_path, "large has --cep none")


def test_a_control_of_sets_that_hold_everything_would_be_the_run_itself(call, tmp_path):
    short = "--epochs 1 --decreasing_lr 1 --pruning_times 1"
    run("PrAC", f"{SETTINGS} {short} --data_prune constent --data_rate 1e-17 --cep none", tmp_path / "all")
    words = f"{like(tmp_path / 'all', 'random')} {short}".split()
    one_sentence(call, "main_PrAC_imp", words, tmp_path, "hold all that there is to choose from")


# --- in studies and reports -------------------------------------------------------------------------------------------

STUDY = """
[common]
dataset = "digits"
arch = "lenet300"
epochs = 2
decreasing_lr = "1"
[grid]
seed = [0, 1]
[search]
pruning_times = 2
[methods."random members"]
script = "main_PrAC_imp.py"
like = "PrAC"
members = "random"
[methods."IMP, PrAC's steps"]
script = "main_imp.py"
like = "PrAC"
[methods.PrAC]
script = "main_PrAC_imp.py"
eb_eps = 0.05
[retrain]
prunings = [2]
"""


def study(tmp_path, *changes):
    return read_study(write_study(tmp_path, STUDY, *changes), tmp_path / "runs")


def test_a_control_follows_the_run_of_the_same_seed(tmp_path):
    found = study(tmp_path)
    check_jobs(found)
    for seed in (0, 1):
        folder = tmp_path / "runs" / f"seed_{seed}"
        jobs = {job.save_dir.name: job for job in found.jobs if job.save_dir.parent == folder}
        control, shorter = jobs["random_members"], jobs["IMP_PrAC_s_steps"]
        assert control.after is shorter.after is jobs["PrAC"]
        shared = f"--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --seed {seed} --pruning_times 2"
        assert shlex.join(control.words) == (
            f"{shared} --members random --like_run {folder}/PrAC --save_dir {folder}/random_members"
        )
        assert shlex.join(shorter.words) == (f"{shared} --steps_of {folder}/PrAC --save_dir {folder}/IMP_PrAC_s_steps")
        ticket = jobs["random_members_ticket_2"]
        assert ticket.after is control and f"{folder}/random_members/2checkpoint.pth.tar" in ticket.words
    for job, later in itertools.combinations(found.jobs, 2):
        assert job.after is not later, "a job stands behind the one it needs"
    script = slurm_script(found)
    assert "#SBATCH --array=0-1" in script and script.index("/PrAC &&") < script.index("--like_run")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('like = "PrAC"\nmembers', 'like = "PrAX"\nmembers', "random members can be like one of PrAC, got 'PrAX'"),
        ('like = "PrAC"\nmembers', 'like = ["PrAC"]\nmembers', r"can be like one of PrAC, got \['PrAC'\]"),
        ('like = "PrAC"\n[m', 'like = "random members"\n[m', "can be like one of PrAC, got 'random members'"),
        ('[methods.PrAC]\nscript = "main_PrAC_imp.py"\neb_eps = 0.05', "", "can be like a method of main_PrAC_imp.py"),
        ('members = "random"', 'members = "hard"', "main_PrAC_imp.py .*--members.*hard"),
        ('members = "random"', "", "needs --members"),
        ('members = "random"', 'members = "random"\npruning_times = 3', "--pruning_times 3, but the run .* has 2"),
        ('like = "PrAC"\nmembers', 'like_run = "PrAC"\nmembers', "like_run is set by the study itself"),
    ],
)
def test_what_no_control_can_be_like_is_one_sentence(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message) as error:
        check_jobs(study(tmp_path, (old, new)))
    assert "\n" not in str(error.value)


def test_a_ticket_found_at_once_still_has_its_own_like(tmp_path):
    """There it is a flag: as many weights as another ticket."""
    snip = '[methods.SNIP]\nscript = "main_init.py"\ncriterion = "snip"\nlike = "README.md"\n[methods.PrAC]'
    (job,) = [job for job in study(tmp_path, ("[methods.PrAC]", snip), ("[0, 1]", "[0]")).jobs
              if job.script == "main_init.py"]  # fmt: skip
    assert job.after is None and "--like README.md" in shlex.join(job.words)


CONTROL = PRAC | {"like_run": True, "members": "random", "like_run, round 0": "x"}
SHORTER = IMP | {"steps_of": True, "steps_of, round 0": 8}


@pytest.mark.parametrize(
    "settings, name",
    [
        (CONTROL, "PrAC, random members"),
        (CONTROL | {"members": "easy"}, "PrAC, easy members"),
        (CONTROL | {"members": "el2n", "cep": "pruned"}, "PrAC, CEP as in Algorithm 1, members by EL2N"),
        (CONTROL | {"members": "cet", "eb_eps": None}, "PrAC, no early stop, members by forgetting"),
        (CONTROL | {"members": "cep"}, "PrAC, members by CEP"),
        (SHORTER, "IMP, as many steps as PrAC"),
    ],
)
def test_controls_are_named_for_their_members(settings, name):
    assert names([made("a", settings, [90])]) == [name]


def test_controls_stay_apart_from_runs_that_know_nothing_of_them():
    others = [CONTROL, CONTROL | {"members": "cet"}, SHORTER]
    found = [made("a", settings, [90]) for settings in (PRAC, IMP, *others)]
    assert len(names(found)) == 5
    seeds = [made("a", CONTROL | {"like_run, round 0": digest}, [90], seed) for seed, digest in enumerate("xyz")]
    assert names(seeds) == ["PrAC, random members"]
    (task,), _ = logged(group_by_task, [made("a", IMP, [90]), made("a", SHORTER, [90]), retrained(SHORTER, 1, 90)])
    assert [method.name for method in task.methods if method.is_imp] == ["IMP"], "the yardstick is IMP alone"


def test_the_chapter_on_sets_has_those_of_a_run_and_of_its_controls(runs):
    found, notes = logged(read_runs, [runs / "easy", runs / "PrAC", runs / "steps"])
    (task,), more = logged(group_by_task, found)
    assert not notes and not more
    figure, table, *_ = prac_set_parts(task, 1, None)
    rows = checkpoints(runs / "PrAC")[-1]["rounds"]
    sizes = [row["next_set"] for row in rows]
    assert [(row[0], row[1], row[7]) for row in table.rows] == [
        (name, k, size)
        for name in ("PrAC, fixed epochs", "PrAC, easy members, fixed epochs")
        for k, size in enumerate(sizes)
    ]
    assert table.rows[0][4] == rows[0]["cet"] and table.rows[2][4] is None, "a control has no CET"
    assert figure.caption.startswith("What each round left")
