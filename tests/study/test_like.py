"""Methods of a study that follow a PrAC run of the same seed: `like` in its file."""

import itertools
import shlex

import pytest

from lottery.study.job_checks import check_jobs
from lottery.study.slurm import slurm_script
from lottery.study.study_file import read_study
from tests.helpers import (
    write_study,
)
from utils import InputError

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
        assert shlex.join(control.arguments) == (
            f"{shared} --members random --like_run {folder}/PrAC --save_dir {folder}/random_members"
        )
        assert (
            shlex.join(shorter.arguments) == f"{shared} --steps_of {folder}/PrAC --save_dir {folder}/IMP_PrAC_s_steps"
        )
        ticket = jobs["random_members_ticket_2"]
        assert ticket.after is control and f"{folder}/random_members/2checkpoint.pth.tar" in ticket.arguments
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
        ('members = "random"', 'members = "random"\npruning_times = 3', "3 rounds, but the run .* has 2"),
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
    assert job.after is None and "--like README.md" in shlex.join(job.arguments)
