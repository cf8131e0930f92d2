"""--cluster_options: what is read, with which defaults, and what is refused."""

import re

import pytest

import study
from lottery.cli import study as cli
from lottery.cli.cluster_options import asks_for_gpu, gpus_of_job, minutes, with_gpus
from tests.helpers import ROOT

FILE = str(ROOT / "studies" / "digits.toml")


def options(*words, cluster="slurm"):
    return cli.read_config([FILE, "--cluster", cluster, "--cluster_options", *words]).cluster_options


def test_options_have_commas_or_spaces_between_and_keep_commas_of_their_own():
    found = options("partition=gpu,long,time=1-12", "mem=16G,cpus-per-task=8")
    assert found == {"partition": "gpu,long", "time": 2160, "mem": "16G", "cpus_per_task": 8} | {
        "signal_delay_s": 90,
        "gpus_per_node": "1",
    }


def test_what_a_job_has_if_nothing_is_given():
    slurm = {"time": 60, "signal_delay_s": 90, "cpus_per_task": 4, "gpus_per_node": "1"}
    assert cli.read_config([FILE, "--cluster", "slurm"]).cluster_options == slurm
    assert cli.read_config([FILE, "--cluster", "local"]).cluster_options == {"signal_delay_s": 90}
    assert cli.read_config([FILE]).cluster_options == {}


@pytest.mark.parametrize("given, gpu", [("gpus_per_node=0", False), ("gpus_per_node=a100:1", True),
                                        ("gpus_per_node=4", True), ("gpus_per_node=h100:0", False),
                                        ("gres=gpu:1", True), ("gres=disk:1", False)])  # fmt: skip
def test_whether_a_job_has_a_gpu(given, gpu):
    assert asks_for_gpu(options(given)) == gpu


@pytest.mark.parametrize("given, most, two", [("gpus_per_node=4", 4, "2"), ("gpus_per_node=a100:8", 8, "a100:2"),
                                              ("gpus_per_node=nvidia:a.b:16", 16, "nvidia:a.b:2")])  # fmt: skip
def test_a_job_may_have_fewer_gpus_than_the_most(given, most, two):
    found = options(given) if given.count(":") < 2 else {"gpus_per_node": given.partition("=")[2]}
    assert gpus_of_job(found) == most and with_gpus(found, 2) == found | {"gpus_per_node": two}
    assert gpus_of_job(options("gres=gpu:1")) == 1 and with_gpus(options("gres=gpu:1"), 1) == options("gres=gpu:1")


TIMES = {"90": 90, "90:30": 91, "1:30:00": 90, "2-0": 2880, "1-1:1:1": 1502}
NO_TIMES = ("0", "1:2:3:4", "-5", "an hour")


@pytest.mark.parametrize("text, expected", [*TIMES.items(), *((text, None) for text in NO_TIMES)])
def test_times_are_those_of_slurm(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize("words, message", [
    ("--cluster slurm --cluster_options partiton=gpu", "no option partiton; did you mean partition"),
    ("--cluster slurm --cluster_options timeout_min=9", "no option timeout_min; did you mean time"),
    ("--cluster slurm --cluster_options colour=red", "no option colour; time, .*mail_user are known"),
    ("--cluster slurm --cluster_options nodes=2", "nodes is set by the study itself"),
    ("--cluster slurm --cluster_options gpus_per_node=3", "gpus_per_node must be 0, or a power of two .* got '3'"),
    ("--cluster slurm --cluster_options mem=lots", "mem must be a number with K, M, G or T"),
    ("--cluster slurm --cluster_options time=1", "signal_delay_s 90 ends a run before it begins"),
    ("--cluster slurm --cluster_options time=3,time=4", "has time twice"),
    ("--cluster slurm --cluster_options time=3 time=4", "has time twice"),
    ("--cluster slurm --cluster_options gpu", "must be name=value, such as partition=gpu"),
    ("--cluster local --cluster_options partition=gpu", "--cluster local has no option partition, which SLURM has"),
    ("--cluster_options time=9", "are those of the jobs of --cluster"),
    ("--cluster slrm", "did you mean slurm"),
    ("--cluster slurm --gpu 0", "--gpu chooses devices of this machine"),
    ("--cluster slurm --slurm file.sh", "give one of them"),
    ("--cluster local --dry_run", "--cluster starts runs, --dry_run starts nothing"),
])  # fmt: skip
def test_what_is_refused_in_one_sentence(words, message, tmp_path, capsys):

    assert study.main([FILE, "--save_dir", str(tmp_path / "runs"), *words.split()]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and re.search(message, err), err
    assert not (tmp_path / "runs").exists()
