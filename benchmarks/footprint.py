"""Peak memory of training and evaluating a network.

Each contestant does it in a process of its own, that has nothing else in it: on a CPU its peak is that of the resident
memory, Python and torch included; on CUDA what torch has taken of the device. The plain loop's workers, which are
further processes, do not count.
"""

from multiprocessing.connection import Connection

import torch

from benchmarks import cases
from benchmarks.contest import Setting, makers
from benchmarks.memory import answer_of_child, process_peak
from lottery.training.environment import set_determinism

EXAMPLES = 4 * cases.BATCH


def measure(name: str, setting: Setting) -> dict[str, int | None]:
    """Who -> bytes at the peak; None where the system does not report it."""
    model, problem = network_and_problem(name)
    return {
        who: answer_of_child("spawn", report_footprint, name, who, setting, torch.get_num_threads())
        for who in makers(model, problem, setting)
    }


def network_and_problem(name: str) -> tuple[torch.nn.Module, cases.Problem]:
    return cases.build(cases.NETWORKS[name]), cases.problem(EXAMPLES)


def report_footprint(name: str, who: str, setting: Setting, threads: int, sender: Connection) -> None:
    """In the child: an epoch, then an evaluation, with the device set as in the parent."""
    torch.set_num_threads(threads)
    set_determinism(setting.device, deterministic=False)
    if setting.device.type == "cuda":
        torch.cuda.set_device(setting.device)  # streams and graphs are made on the current device
    contestant = makers(*network_and_problem(name), setting)[who]()
    contestant.enter()
    contestant.train()
    contestant.evaluate()
    cuda = setting.device.type == "cuda"
    sender.send(torch.cuda.max_memory_reserved(setting.device) if cuda else process_peak())
