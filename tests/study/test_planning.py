"""Which jobs a study file stands for, and their commands."""

import itertools
import re
import shlex

from lottery.checkpointing.script_names import Script
from lottery.cli.registry import cli_module
from lottery.study.grid import OF_SEVERAL_WORDS, typed
from lottery.study.job_checks import check_jobs
from lottery.study.study_file import read_study
from tests.helpers import ROOT
from tests.study.samples import AT_ONCE, ELASTIC, QUICK


def test_a_grid_is_every_combination(quick, tmp_path):
    places = [str(job.save_dir.relative_to(tmp_path / "runs")) for job in quick.jobs]
    own = ["dense", "IMP", "IMP_ticket_1", "IMP_ticket_2",
           "random_pruning", "random_pruning_ticket_1", "random_pruning_ticket_2"]  # fmt: skip
    assert places == [f"seed_{seed}/{name}" for seed in (0, 1) for name in own]


def test_a_job_is_a_command(quick, tmp_path):
    jobs = {job.save_dir.name: job for job in quick.jobs if job.save_dir.parent.name == "seed_1"}
    shared = "--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --seed 1"
    folder = tmp_path / "runs" / "seed_1"
    assert shlex.join(jobs["random_pruning"].arguments) == (
        f"{shared} --pruning_times 2 --random_prune --save_dir {folder}/random_pruning"
    )
    ticket = f"{folder}/IMP/2checkpoint.pth.tar"
    assert shlex.join(jobs["IMP_ticket_2"].arguments) == (
        f"{shared} --weight_decay 0.001 --init_dir {ticket} --mask_dir {ticket} --save_dir {folder}/IMP_ticket_2"
    )
    assert jobs["IMP_ticket_2"].after is jobs["IMP"] and jobs["dense"].after is None


def test_values_of_a_list_have_commas_between_them_or_are_words(written):
    """Each by the flag: those of runs that take several words are known."""
    assert typed({"densities": [0.4, 0.16], "basis_axes": ["out", "in"], "prune_also": "all"}) == (
        *("--densities", "0.4,0.16"), *("--basis_axes", "out", "in"), *("--prune_also", "all")
    )  # fmt: skip
    taking_words = {
        action.dest
        for script in Script
        for action in cli_module(script).parser()._actions
        if action.nargs == "+" and action.option_strings
    }
    assert taking_words == OF_SEVERAL_WORDS


def test_cases_belong_together(written, tmp_path):
    cases = '[[grid.cases]]\ndataset = "mnist"\ndata = "m"\n[[grid.cases]]\ndataset = "cifar10"\ndata = "c"\n[search]'
    found = read_study(written(QUICK, ("[search]", cases), ('dataset = "digits"\n', "")))
    dense = [job for job in found.jobs if job.save_dir.name == "dense"]
    assert [str(job.save_dir) for job in dense] == [
        f"runs/study/{data}/seed_{seed}/dense" for data in ("mnist", "cifar10") for seed in (0, 1)
    ]
    assert "--dataset cifar10 --data c" in shlex.join(dense[-1].arguments)


def test_tickets_are_carried_to_every_other_network_of_the_same_seed(elastic, tmp_path):
    folder = tmp_path / "runs"
    found = {str(job.save_dir.relative_to(folder)): job for job in elastic.jobs}
    archs, name = ["mlp2", "mlp3", "mlp4"], "IMP_ticket_2_from_"
    assert found.keys() == {
        f"{arch}/seed_{seed}/{what}"
        for arch in archs
        for seed in (0, 1)
        for what in ["IMP", "IMP_ticket_2"]
        + [f"{name}{other}{end}" for other in archs if other != arch for end in ("", "_carried")]
    }
    carrying, training = (found[f"mlp3/seed_1/{name}mlp2{end}"] for end in ("_carried", ""))
    assert carrying.after is found["mlp2/seed_1/IMP"] and training.after is carrying
    source, carried = f"{folder}/mlp2/seed_1/IMP/2checkpoint.pth.tar", f"{carrying.save_dir}/checkpoint.pth.tar"
    assert (carrying.script, training.script) == ("main_elastic.py", "main_train.py")
    assert shlex.join(carrying.arguments) == (
        f"--source_arch mlp2 --target_arch mlp3 --init_dir {source} --mask_dir {source} --save_dir {carrying.save_dir}"
    )
    assert shlex.join(training.arguments) == (
        "--dataset digits --epochs 2 --decreasing_lr 1 --arch mlp3 --seed 1 --weight_decay 0.001 "
        f"--init_dir {carried} --mask_dir {carried} --save_dir {training.save_dir}"
    )
    check_jobs(elastic)


def test_pairs_and_flags_of_a_carrying(written, tmp_path):
    text = ELASTIC + 'pairs = [["mlp2", "mlp4"]]\norder = "interpolate"\n'
    (first, second) = [job for job in read_study(written(text)).jobs if job.script == "main_elastic.py"]
    assert [str(job.save_dir) for job in (first, second)] == [
        f"runs/study/mlp4/seed_{seed}/IMP_ticket_2_from_mlp2_carried" for seed in (0, 1)
    ]
    assert first.flags == ("--source_arch", "mlp2", "--target_arch", "mlp4", "--order", "interpolate")


def test_a_control_of_a_carried_ticket_is_trained_on_the_carried_one(written, tmp_path):
    text = ELASTIC + 'pairs = [["mlp2", "mlp4"]]\ncontrols = ["random_mask"]\n'
    carrying, plain, control = [job for job in read_study(written(text)).jobs if "from_mlp2" in job.save_dir.name][:3]
    assert plain.after is control.after is carrying
    assert control.save_dir == plain.save_dir.with_name(f"{plain.save_dir.name}_random_mask")
    assert control.flags == (*plain.flags, "--control", "random_mask")


def test_a_carrying_has_the_stem_of_its_networks(written):
    changes = [('"mlp2", "mlp3", "mlp4"', '"res18", "res26"'), ("epochs = 2", 'epochs = 2\nstem = "cifar"')]
    found = read_study(written(ELASTIC, *changes))
    check_jobs(found)
    assert {"--stem", "cifar"} <= set(next(job for job in found.jobs if job.only_makes_ticket).flags)


def test_controls_are_trainings_of_their_own(written):
    found = read_study(written(QUICK, ("prunings = [1, 2]", 'prunings = [2]\ncontrols = ["reinit", "random_mask"]')))
    jobs = {job.save_dir.name: job for job in found.jobs if job.save_dir.parent.name == "seed_0"}
    plain, control = jobs["IMP_ticket_2"], jobs["IMP_ticket_2_random_mask"]
    assert "IMP_ticket_2_reinit" in jobs and "random_pruning_ticket_2_reinit" in jobs
    assert control.after is jobs["IMP"] and control.flags == (*plain.flags, "--control", "random_mask")


def test_controls_of_some_tickets_only(written):
    """The maskless control, the same for all tickets of a search, belongs to the first that has controls."""
    controlled = 'prunings = [1, 2]\ncontrols = ["reinit", "dense"]\ncontrol_methods = ["IMP"]\ncontrol_prunings = [2]'
    found = read_study(written(QUICK, ("prunings = [1, 2]", controlled)))
    check_jobs(found)
    names = [job.save_dir.name for job in found.jobs if job.save_dir.parent.name == "seed_0"]
    altered = [name for name in names if name.endswith(("_reinit", "_dense"))]
    assert altered == ["IMP_ticket_2_reinit", "IMP_ticket_2_dense"]
    assert {"IMP_ticket_1", "random_pruning_ticket_1", "random_pruning_ticket_2"} <= set(names)


def test_the_maskless_control_is_trained_with_the_first_ticket_that_a_method_has(written):
    controlled = 'prunings = [1, 2]\ncontrols = ["reinit", "dense"]\ncontrol_prunings = [1, 2]'
    own = ("[methods.IMP]\n", "[methods.IMP]\nprunings = [2]\n")
    found = read_study(written(QUICK, ("prunings = [1, 2]", controlled), own))
    names = [job.save_dir.name for job in found.jobs if job.save_dir.parent.name == "seed_0"]
    altered = [name for name in names if name.endswith(("_reinit", "_dense"))]
    assert {"IMP_ticket_2_reinit", "IMP_ticket_2_dense", "random_pruning_ticket_1_dense"} <= set(altered)
    assert "random_pruning_ticket_2_dense" not in altered and "IMP_ticket_1" not in names


def test_rules_train_what_a_ticket_was_pruned_from(written, tmp_path):
    """The checkpoint of the round before has the weights. Rules take the place of --rewind_lr."""
    changes = ("prunings = [1, 2]", 'prunings = [2]\nrewind_lr = true\nrules = ["lr_rewinding", "fine_tuning"]')
    found = read_study(written(QUICK, changes, ("dense = true", "dense = false")), tmp_path)
    jobs = {job.save_dir.name: job for job in found.jobs if job.save_dir.parent.name == "seed_0"}
    folder, plain, ruled = tmp_path / "seed_0", jobs["IMP_ticket_2"], jobs["IMP_ticket_2_fine_tuning"]
    assert {"IMP_ticket_2_lr_rewinding", "random_pruning_ticket_2_lr_rewinding"} <= jobs.keys()
    assert ruled.after is jobs["IMP"] and "--rewind_lr" in plain.flags and "--rewind_lr" not in ruled.flags
    assert shlex.join(ruled.arguments) == (
        "--dataset digits --arch lenet300 --epochs 2 --decreasing_lr 1 --seed 0 --weight_decay 0.001 "
        f"--rule fine_tuning --init_dir {folder}/IMP/1checkpoint.pth.tar --mask_dir {folder}/IMP/2checkpoint.pth.tar "
        f"--save_dir {folder}/IMP_ticket_2_fine_tuning"
    )
    check_jobs(found)


def test_the_dense_network_is_trained_by_the_rules_as_well(written, tmp_path):
    """As the control dense, once for a search, from its own trained weights, those of round 0."""
    changes = ("prunings = [1, 2]", 'prunings = [2, 3]\nrules = ["fine_tuning"]\ncontrols = ["dense", "reinit"]')
    text = QUICK.replace("pruning_times = 2", "pruning_times = 3")
    found = read_study(written(text, changes, ("dense = true", "dense = false")), tmp_path)
    mine = [job for job in found.jobs if "--rule" in job.flags and job.save_dir.parent.name == "seed_0"]
    names = {job.save_dir.name: job for job in mine if job.save_dir.name.startswith("IMP")}
    assert names.keys() == {f"IMP_ticket_{end}" for end in ("2_fine_tuning", "2_fine_tuning_dense", "3_fine_tuning")}
    words = shlex.join(names["IMP_ticket_2_fine_tuning_dense"].arguments)
    folder = tmp_path / "seed_0"
    assert "--rule fine_tuning --control dense" in words
    assert f"--init_dir {folder}/IMP/0checkpoint.pth.tar --mask_dir {folder}/IMP/2checkpoint.pth.tar" in words
    check_jobs(found)


def test_a_ticket_found_at_once_is_trained_by_no_rule(written):
    found = read_study(written(AT_ONCE, ("prunings = [1]", 'prunings = [1]\nrules = ["fine_tuning"]')))
    ruled = {job.save_dir.name for job in found.jobs if "--rule" in job.flags}
    assert ruled == {"IMP_ticket_1_fine_tuning"}


def test_a_control_without_a_mask_is_trained_once_for_a_search(written):
    text = AT_ONCE.replace("pruning_times = 1", "pruning_times = 2")
    found = read_study(written(text, ("prunings = [1]", 'prunings = [1, 2]\ncontrols = ["dense", "reinit"]')))
    names = [job.save_dir.name for job in found.jobs if "--control" in job.flags and "mlp2/seed_0" in str(job.save_dir)]
    assert names == [
        "IMP_ticket_1_dense", "IMP_ticket_1_reinit", "IMP_ticket_2_reinit", "SNIP_0.8_ticket_dense",
        "SNIP_0.8_ticket_reinit",
    ]  # fmt: skip


def test_a_ticket_found_at_once_is_trained_and_carried_without_prunings(written, tmp_path):
    text = AT_ONCE + 'controls = ["reinit"]\n[elastic]\npairs = [["mlp2", "mlp3"]]\n'
    found = read_study(written(text), tmp_path)
    jobs = {str(job.save_dir.relative_to(tmp_path)): job for job in found.jobs}
    name = "mlp2/seed_1/SNIP_0.8"
    making, training = jobs[name], jobs[f"{name}_ticket"]
    assert shlex.join(making.arguments) == (
        "--dataset digits --arch mlp2 --seed 1 --criterion snip --density 0.8 --score_examples 100 "
        f"--save_dir {tmp_path}/{name}"
    )
    assert training.after is making
    assert f"--mask_dir {tmp_path}/{name}/checkpoint.pth.tar" in shlex.join(training.arguments)
    assert jobs[f"{name}_ticket_reinit"].after is making
    carrying = jobs["mlp3/seed_1/SNIP_0.8_ticket_from_mlp2_carried"]
    assert carrying.after is making and jobs["mlp3/seed_1/SNIP_0.8_ticket_from_mlp2"].after is carrying
    assert [(job.only_makes_ticket, job.has_gpu_flag) for job in (making, carrying, training)] == [
        (True, True), (True, False), (False, True)]  # fmt: skip
    check_jobs(found)


def test_tickets_found_at_once_need_no_search(written):
    text = re.sub(r'\[methods.IMP\]\nscript = "main_imp.py"\n', "", AT_ONCE).replace(
        "prunings = [1]", 'controls = ["reinit"]'
    )
    names = {job.save_dir.name for job in read_study(written(text)).jobs}
    assert names == {"dense", "SNIP_0.8", "SNIP_0.8_ticket", "SNIP_0.8_ticket_reinit"}
    alone = {job.save_dir.name for job in read_study(written(text.partition("[retrain]")[0])).jobs}
    assert alone == {"SNIP_0.8"}


def test_the_study_of_elastic_tickets_has_every_pair_and_control():
    found = read_study(ROOT / "studies" / "elastic_mnist.toml")
    carried = {(job.after.save_dir.parts[3], job.save_dir.parts[3]) for job in found.jobs if job.only_makes_ticket}
    assert carried == set(itertools.permutations(["mlp2", "mlp3", "mlp4"], 2))
    assert len(found.jobs) == 9 * (1 + 1 + 3 + 2 * 3)
    assert sum("--control" in job.flags for job in found.jobs) == 9 * (3 + 2)


def test_a_method_may_have_prunings_of_its_own(written):
    own = 'script = "main_imp.py"\nprunings = [1]\nrandom_prune = true'
    text = (QUICK, ('script = "main_imp.py"\nrandom_prune = true', own), ("dense = true", 'controls = ["reinit"]'))
    found = read_study(written(*text))
    check_jobs(found)
    assert [job.save_dir.name for job in found.jobs if job.save_dir.parent.name == "seed_0"] == [
        *("IMP", "IMP_ticket_1", "IMP_ticket_1_reinit", "IMP_ticket_2", "IMP_ticket_2_reinit"),
        *("random_pruning", "random_pruning_ticket_1", "random_pruning_ticket_1_reinit"),
    ]
