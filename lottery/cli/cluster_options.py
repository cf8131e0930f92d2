"""What `--cluster_options` of study.py may hold: the resources of a job by name, read and checked without torch."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from utils import InputError, did_you_mean

Options = dict[str, str | int]

CLUSTERS = ("slurm", "local")
TIME, SIGNAL_DELAY = 60, 90  # minutes that a job of SLURM may take; seconds before that at which its run is ended


class Option(NamedTuple):
    """How a value is read from text, None being what it may not be, and what is allowed in words."""

    read: Callable[[str], str | int | None]
    allowed: str


def minutes(text: str) -> int | None:
    """A time as SLURM has it, rounded up to minutes: minutes, minutes:seconds, hours:minutes:seconds, days-hours and
    so on."""
    found = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+(?::[0-9]+){0,2})", text)
    if found is None:
        return None
    parts = [int(part) for part in found[2].split(":")]
    units = (60, 1) if found[1] is None and len(parts) < 3 else (3600, 60, 1)
    seconds = 86400 * int(found[1] or 0) + sum(part * unit for part, unit in zip(parts, units, strict=False))
    return -(-seconds // 60) or None


def matching(pattern: str) -> Callable[[str], str | None]:
    """A reader of text that matches a whole pattern, and stays as it is."""
    return lambda text: text if re.fullmatch(pattern, text) else None


def whole_number(lowest: int) -> Callable[[str], int | None]:
    return lambda text: int(text) if re.fullmatch("[0-9]+", text) and int(text) >= lowest else None


TEXT = Option(matching(r".+"), "some text")
MEMORY = Option(matching(r"[0-9]+([KMGT]B?)?"), "a number with K, M, G or T behind it, such as 16G")
SHARED: dict[str, Option] = {  # options of every cluster
    "time": Option(minutes, "minutes, or a time such as 1:30:00 or 1-12 (a day and 12 hours)"),
    "signal_delay_s": Option(whole_number(1), "seconds, a whole number from 1 up"),
}
SLURM: dict[str, Option] = SHARED | {
    "gpus_per_node": Option(
        matching(r"([\w.-]+:)?(0|1|2|4|8|16)"), "0, or a power of two up to 16, or with a kind of GPU, such as a100:1"
    ),
    "cpus_per_task": Option(whole_number(1), "a whole number from 1 up"),
    **dict.fromkeys(("mem", "mem_per_cpu", "mem_per_gpu"), MEMORY),
    **dict.fromkeys(("partition", "account", "qos", "constraint", "gres", "nodelist", "exclude", "reservation"), TEXT),
    **dict.fromkeys(("comment", "mail_type", "mail_user"), TEXT),
}
OPTIONS: dict[str, dict[str, Option]] = {"slurm": SLURM, "local": SHARED}
OTHER_NAMES = {"timeout_min": "time", "mem_gb": "mem", "gpus": "gpus_per_node", "cpus": "cpus_per_task"}
ONE_PROCESS = ("nodes", "ntasks", "tasks_per_node", "ntasks_per_node", "array", "dependency")


def assignments(text: str) -> dict[str, str]:
    """An argparse type: 'partition=gpu,time=90' by name. A part without = belongs to the value before it, which has a
    comma itself: partition=gpu,long."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if name in found and equals:
            raise ArgumentTypeError(f"has {name} twice: give it once")
        if equals and name:
            found[name] = value
        elif found and part:
            last = next(reversed(found))
            found[last] += f",{part}"
        else:
            raise ArgumentTypeError(f"must be name=value, such as partition=gpu,time=90, got {text!r}")
    return found


def read_options(cluster: str, given: Iterable[Mapping[str, str]]) -> Options:
    """The options of a job on this cluster, with the defaults of those that are not given; InputError for what it does
    not have, what is said twice, and for values that are not allowed."""
    texts: dict[str, str] = {}
    for each in given:
        if twice := texts.keys() & each.keys():
            raise InputError(f"--cluster_options has {min(twice)} twice: give it once")
        texts |= each
    options = defaults(cluster, texts) | {name: read_option(cluster, name, text) for name, text in texts.items()}
    if "time" in options and int(options["signal_delay_s"]) >= 60 * int(options["time"]):
        raise InputError(
            f"--cluster_options: signal_delay_s {options['signal_delay_s']} ends a run before it begins: time is "
            f"{60 * int(options['time'])} seconds"
        )
    return options


def defaults(cluster: str, given: Mapping[str, str]) -> Options:
    """What a job has that is not given: on SLURM an hour, four CPUs and a GPU; on this machine no end."""
    if cluster == "local":
        return {"signal_delay_s": SIGNAL_DELAY}
    gpu: Options = {} if "gres" in given else {"gpus_per_node": "1"}
    return {"time": TIME, "signal_delay_s": SIGNAL_DELAY, "cpus_per_task": 4} | gpu


def read_option(cluster: str, name: str, text: str) -> str | int:
    """The value of one option."""
    known = OPTIONS[cluster]
    if name not in known:
        raise InputError(f"--cluster_options: {why_unknown(cluster, name)}")
    value = known[name].read(text)
    if value is None:
        raise InputError(f"--cluster_options: {name} must be {known[name].allowed}, got {text!r}")
    return value


def why_unknown(cluster: str, name: str) -> str:
    """Why there is no option of this name, and what there is."""
    if name in ONE_PROCESS:
        return f"{name} is set by the study itself: a run is one task on one node"
    known = OPTIONS[cluster]
    meant = OTHER_NAMES.get(name)
    near = f"; did you mean {meant}?" if meant in known else did_you_mean(name, known)
    if name in SLURM and cluster == "local":
        near = ", which SLURM has"
    return f"--cluster {cluster} has no option {name}{near}" + ("" if near else f"; {', '.join(known)} are known")


def gpus_of_job(options: Mapping[str, str | int]) -> int:
    """The most GPUs that a job with these options is given; 1 where another option says it."""
    return int(str(options.get("gpus_per_node", "1")).rpartition(":")[2])


def with_gpus(options: Mapping[str, str | int], count: int) -> dict[str, str | int]:
    """The options of a job that computes on so many of the GPUs that it might have."""
    if "gpus_per_node" not in options:
        return dict(options)
    kind = "".join(str(options["gpus_per_node"]).rpartition(":")[:2])
    return {**options, "gpus_per_node": f"{kind}{count}"}


def asks_for_gpu(options: Mapping[str, str | int]) -> bool:
    """Whether a job with these options is given a GPU."""
    return ("gpus_per_node" in options and gpus_of_job(options) > 0) or "gpu" in str(options.get("gres", ""))
