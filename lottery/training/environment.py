"""What bit-equality of two runs depends on beside their settings: versions, hardware, threads."""

import os
import platform
from pathlib import Path

import numpy as np
import torch


def environment(device: torch.device) -> dict[str, str | int]:
    """Versions, hardware and threads: two runs with the same ones and the same settings are equal to the bit."""
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def set_determinism(device: torch.device, deterministic: bool) -> None:
    """Whether CUDA may use kernels whose sums come in another order each time, and those that a trial finds fastest.

    A kernel that has no deterministic form is used all the same, with torch's warning. A CPU needs none of this.
    """
    if device.type != "cuda":
        return
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS first works
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads memory it has not written
    torch.backends.cudnn.benchmark = not deterministic and not torch.version.hip  # MIOpen's trials take minutes


def device_name(device: torch.device) -> str:
    """The GPU's name and the version of CUDA or ROCm, or the processor's and the instructions torch uses on it."""
    if device.type == "cuda":
        platform_used = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
        return f"{torch.cuda.get_device_name(device)}, {platform_used}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{processor_name()}, {capability}"


def processor_name() -> str:
    """As the system calls it; Python alone does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def changes(there: dict, here: dict) -> list[str]:
    """Why a run that goes on `here` is not bit-exact, in a sentence; empty if it is."""
    different = [f"{name} was {old}, is {here.get(name)}" for name, old in there.items() if here.get(name) != old]
    if any(gpu in here["device"] for gpu in (", CUDA ", ", ROCm ")) and not here["deterministic"]:
        different.append("a GPU sums in another order each time without --deterministic")
    return [f"note: no longer bit-exact with an unbroken run, since {'; '.join(different)}"] if different else []
