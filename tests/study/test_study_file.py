"""Study files that are wrong: refused in one sentence, before anything runs."""

import pytest

import study
from lottery.study.job_checks import check_jobs
from lottery.study.study_file import read_study
from tests.helpers import check_refusal
from tests.study.samples import AT_ONCE, ELASTIC, QUICK
from utils import InputError


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("prunings = [1, 2]", "prunings = [1]\nrules = ['luck']", "rules must be a list.*fine_tuning; got .'luck'."),
        ("prunings = [1, 2]", "prunings = [1]\nrules = 'fine_tuning'", "rules must be a list"),
        ("prunings = [1, 2]", "prunings = [1]\nrules = [['fine_tuning']]", "rules must be a list"),
        ("prunings = [1, 2]", "rules = ['fine_tuning']", "there are none"),
        ("dense = true", "dense = 'yes'", "dense must be true or false, got .yes."),
        ("prunings = [1, 2]", "prunings = [1]\nrule = 'fine_tuning'", "rule is set by the study itself"),
        ("prunings = [1, 2]", "prunings = [1]\nrules = ['fine_tuning']\n[methods.pt]\nscript = 'main_imp.py'\n"
         "prune_type = 'pt'\n[elastic]", "those of prune_type pt do not"),
    ],
)  # fmt: skip
def test_what_no_rule_can_train_is_one_sentence(written, tmp_path, capsys, old, new, message):
    check_refusal(written(QUICK.replace("weight_decay = 0.001\n", ""), (old, new)), tmp_path / "runs", message, capsys)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('arch = ["mlp2", "mlp3", "mlp4"]\n', "", r"arch in \[grid\]: give two or more"),
        ('"mlp2", "mlp3", "mlp4"', '"mlp2"', r"arch in \[grid\]: give two or more"),
        ("prunings = [2]", "", r"prunings in \[retrain\], which has none"),
        ("prunings = [2]", "controls = ['reinit']", r"prunings in \[retrain\], which has none"),
        ("prunings = [2]", "prunings = [2]\ncontrols = 'reinit'", "controls must be a list"),
        ("prunings = [2]", "prunings = [3]", "no ticket after 3 prunings"),
        ("[elastic]", "[elastic]\npairs = [['mlp2', 'mlp5']]", "two different networks each of arch.*mlp5"),
        ("[elastic]", "[elastic]\npairs = [['mlp2', 'mlp2']]", "two different networks each of arch"),
        ("[elastic]", "[elastic]\npairs = ['mlp2', 'mlp3']", "two different networks each of arch"),
        ("[elastic]", "[elastic]\npairs = 3", "two different networks each of arch"),
        ("[elastic]", "[elastic]\npairs = [[['mlp2'], 'mlp3']]", "two different networks each of arch"),
        ("[elastic]", "[elastic]\npairs = [[{a = 1}, 'mlp3']]", "two different networks each of arch"),
        ("[elastic]", "[elastic]\ncontrols = 'reinit'", "controls must be a list"),
        (
            "[elastic]",
            "controls = ['reinit']\ncontrol_methods = ['SNIP']\n[elastic]",
            r"control_methods must be a list of some of IMP; got \['SNIP'\]",
        ),
        (
            "[elastic]",
            "controls = ['reinit']\ncontrol_prunings = [1]\n[elastic]",
            r"control_prunings must be a list of some of 2; got \[1\]",
        ),
        ("[elastic]", "controls = ['reinit']\ncontrol_prunings = 2\n[elastic]", "control_prunings must be a list"),
        ("[elastic]", "control_prunings = [2]\n[elastic]", r"no controls in \[retrain\]"),
        ("[elastic]", "[elastic]\norder = 'mixed'", "main_elastic.py .*--order.*mixed"),
        ("[elastic]", "[elastic]\ntarget_arch = 'mlp2'", "target_arch is set by the study itself"),
        ("prunings = [2]", "prunings = [2]\ncontrols = ['luck']", "main_train.py .*--control.*luck.*reinit"),
        ("[elastic]", "[[elastic]]", "elastic must be a table"),
        ('"mlp4"', '"res20s"', "main_elastic.py --source_arch mlp2 --target_arch res20s"),
        ('script = "main_imp.py"', 'script = "main_imp.py"\npairs = "x"', "unknown flag --pairs"),
    ],
)
def test_what_cannot_be_carried_is_one_sentence(written, tmp_path, capsys, old, new, message):
    check_refusal(written(ELASTIC, (old, new)), tmp_path / "runs", message, capsys)


def test_a_wrong_flag_of_a_criterion_is_one_sentence(written, tmp_path, capsys):
    message = "main_init.py .*--criterion.*snap"
    check_refusal(written(AT_ONCE, ('criterion = "snip"', 'criterion = "snap"')), tmp_path / "runs", message, capsys)
    message = "main_init.py .*--learning_rate"
    check_refusal(written(AT_ONCE, ("density", "learning_rate = 1\ndensity")), tmp_path / "runs", message, capsys)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[common]", "[commom]", "commom, which no study has"),
        ('script = "main_imp.py"\nrandom', 'script = "main.py"\nrandom', "random pruning needs script"),
        ("seed = [0, 1]", "seed = 0", r"seed in \[grid\] must be a list"),
        ("seed = [0, 1]", "seed = [0, 0]", "would share .*seed_0/dense"),
        ('methods."random pruning"', 'methods."dense"', "none may be dense"),
        ("prunings = [1, 2]", "prunings = [1, 3]", "no ticket after 3 prunings"),
        ("prunings = [1, 2]", "prunings = [0]", "from 1 up"),
        ("epochs = 2", "epochs = 0", "main_train.py .*--epochs: must be a whole number from 1 up, got 0"),
        ("epochs = 2", "epoch = 2", "unknown flag --epoch; did you mean --epochs"),
        ("random_prune = true", "random_prune = true\neb_eps = 0.1", "give one of them"),
        ("epochs = 2", 'save_dir = "x"', "save_dir is set by the study itself"),
        ("epochs = 2", "gpu = 1", "gpu is set by the study itself, which chooses devices by its flag --gpu"),
        ("[common]", "[common", "is no TOML file"),
    ],
)
def test_a_wrong_file_is_one_sentence(written, tmp_path, capsys, old, new, message):
    check_refusal(written(QUICK, (old, new)), tmp_path / "runs", message, capsys)


def test_a_file_that_is_not_there_is_one_sentence(capsys, tmp_path):
    assert study.main([str(tmp_path / "nowhere.toml")]) == 2
    assert "nowhere.toml cannot be read" in capsys.readouterr().err


DENSITIES = '[methods.IMP]\nscript = "main_imp.py"\ndensities = [0.5, 0.2]\n'


@pytest.mark.parametrize(
    "given, shared, line",
    [
        ("", "", 'put pruning_times = false into .methods."IMP".'),
        ("", "rate = 0.4\n", 'put pruning_times = false and rate = false into .methods."IMP".'),
        ("pruning_times = false\n", "rate = 0.4\n", 'put rate = false into .methods."IMP".'),
        ("pruning_times = 2\n", "", "--densities says how many rounds"),
    ],
)
def test_densities_beside_the_rounds_of_all_searches_are_refused_with_the_line_to_add(
    written, tmp_path, capsys, given, shared, line
):
    method = ('[methods.IMP]\nscript = "main_imp.py"\n', DENSITIES + given)
    file = written(QUICK, method, ("[search]\n", f"[search]\n{shared}"))
    check_refusal(file, tmp_path / "runs", line, capsys)


def test_densities_without_the_rounds_of_all_searches_are_planned(written, tmp_path):
    false = "pruning_times = false\nrate = false\n"
    file = written(QUICK, ('[methods.IMP]\nscript = "main_imp.py"\n', DENSITIES + false))
    found = read_study(file, tmp_path / "runs")
    check_jobs(found)
    (job,) = (job for job in found.jobs if job.save_dir.name == "IMP" and "seed_0" in str(job.save_dir))
    assert "--densities 0.5,0.2" in " ".join(job.flags) and "--pruning_times" not in job.flags


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("random_prune = true", "random_prune = true\nprunings = 1", "prunings must be a list of whole numbers from 1"),
        ("random_prune = true", "random_prune = true\nprunings = [3]", "no ticket after 3 prunings, the search has 2"),
        (
            "random_prune = true",
            "[methods.GMP]\nscript = 'main_dst.py'\nmethod = 'gmp'\ndensity = 0.5\nprunings = [1]",
            "method GMP has prunings, but main_dst.py makes one ticket",
        ),
        (
            "random_prune = true",
            "[methods.channels]\nscript = 'main_channels.py'\nprunings = [1]",
            "method channels has prunings, but main_channels.py does not prune in rounds",
        ),
        (
            "random_prune = true\n[retrain]\ndense = true\nprunings = [1, 2]\nweight_decay = 0.001",
            "prunings = [1]",
            r"method random pruning has prunings, .* there is no \[retrain\]",
        ),
    ],
)
def test_prunings_of_a_method_are_of_a_search_whose_tickets_are_trained(written, tmp_path, capsys, old, new, message):
    check_refusal(written(QUICK, (old, new)), tmp_path / "runs", message, capsys)


@pytest.mark.parametrize("name", ["彩票", "..", ".", "report", "/", "IMP.old", "IMP.log"])
def test_a_name_that_gives_no_directory_of_its_own_is_refused(written, tmp_path, name, capsys):
    file = written(QUICK, ("[methods.IMP]", f'[methods."{name}"]'))
    check_refusal(file, tmp_path / "runs", "lie in a directory of its name", capsys)


@pytest.mark.parametrize("save_dir", ["3", "true", "['a']", "''"])
def test_a_save_dir_that_is_no_path_is_refused(tmp_path, save_dir):
    file = tmp_path / "study.toml"
    file.write_text(f"save_dir = {save_dir}\n[methods.IMP]\nscript = 'main_imp.py'\n")
    with pytest.raises(InputError, match="save_dir must be a path in quotation marks"):
        read_study(file)
