"""The environment a run computes in: versions, hardware and threads, determinism, and the C library's allocator."""

import ctypes
import os
import platform
from pathlib import Path

import numpy as np
import torch


def environment(device: torch.device) -> dict[str, str | int]:
    """Versions, hardware and threads. Runs with equal settings and equal environments are equal to the bit."""
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def environment_changes(before: dict, now: dict) -> list[str]:
    """A note on why a run that is resumed in another environment is not bit-exact; empty if it is."""
    different = [f"{name} was {old}, is {now.get(name)}" for name, old in before.items() if now.get(name) != old]
    if any(gpu in now["device"] for gpu in (", CUDA ", ", ROCm ")) and not now["deterministic"]:
        different.append("a GPU sums in another order each time without --deterministic")
    return [f"note: no longer bit-exact with an unbroken run, since {'; '.join(different)}"] if different else []


def device_name(device: torch.device) -> str:
    """The GPU's name with the CUDA or ROCm version, or the processor's name with the instruction set torch uses."""
    if device.type == "cuda":
        platform_used = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
        return f"{torch.cuda.get_device_name(device)}, {platform_used}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{processor_name()}, {capability}"


def processor_name() -> str:
    """The processor's name as Linux reports it, which Python does not; elsewhere Python's own."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def set_determinism(device: torch.device, deterministic: bool) -> None:
    """Let CUDA use kernels that sum in varying order and kernels chosen by benchmarking, unless `deterministic`.

    Where no deterministic kernel exists, the usual one runs, with torch's warning. Does nothing on a CPU.
    """
    if device.type != "cuda":
        return
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads uninitialised memory
    torch.backends.cudnn.benchmark = not deterministic and not torch.version.hip  # MIOpen's benchmarks take minutes


# --- the C library's allocator ----------------------------------------------------------------------------------------

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST, LARGEST_BEFORE_2_35 = 2**31 - 1, 2**25


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next allocation; returns whether that worked.

    A training step on a CPU frees its activations, hundreds of megabytes, and the next one allocates as much again. By
    default glibc returns them to the system in between, which then has to clear every page anew. Peak memory stays the
    same. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST) or mallopt(M_MMAP_THRESHOLD, LARGEST_BEFORE_2_35)
    return bool(mallopt(M_TRIM_THRESHOLD, LARGEST) and kept)
