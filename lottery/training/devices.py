"""Where a run computes: which GPUs torch can use here, and why it cannot use the others."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from utils import InputError, is_out_of_memory


def pick_device(gpu: int | None, log: Callable[[str], object] = print) -> torch.device:
    """CUDA device number `gpu`; the CPU for -1; for None the first GPU that torch can use, else the CPU.

    A GPU that is asked for and cannot be used is an InputError. With None, `log` is told why a GPU of this machine is
    left unused.
    """
    if gpu is None:
        usable = usable_gpus()
        gpu = usable[0] if usable else -1
        if not usable and (why := why_no_gpu()):
            log(f"note: computing on the CPU: {why}")
    elif gpu != -1:
        check_gpu(gpu)
    if gpu == -1:
        return torch.device("cpu")
    torch.cuda.set_device(gpu)  # streams and graphs are made on the current device
    return torch.device("cuda", gpu)


def usable_gpus() -> list[int]:
    """The CUDA devices that this torch can compute on. A driver that does not work still lets torch count devices."""
    if not torch.cuda.is_available():
        return []
    return [gpu for gpu in range(torch.cuda.device_count()) if missing_code(gpu) is None]


def check_gpu(gpu: int, cpu: str = "--gpu -1") -> None:
    """InputError unless torch can compute on this CUDA device; `cpu` is how the CPU is asked for."""
    if not torch.cuda.is_available():
        raise InputError(f"--gpu {gpu}: torch cannot use CUDA here ({why_no_cuda()}); {cpu} is the CPU")
    if gpu >= (count := torch.cuda.device_count()):
        raise InputError(f"--gpu {gpu}: torch sees {count} CUDA device{'s' * (count > 1)}, numbered from 0")
    if why := missing_code(gpu):
        raise InputError(f"--gpu {gpu}: {why}")


# --- why not ----------------------------------------------------------------------------------------------------------


def why_no_gpu() -> str | None:
    """Why no GPU of this machine is used, where torch can use none; None if it has no GPU."""
    if torch.backends.mps.is_available():
        return "the suite does not use Apple GPUs (MPS)"
    if not has_nvidia_gpu():
        return None
    why = missing_code(0) if torch.cuda.is_available() else why_no_cuda()
    return f"this machine has an NVIDIA GPU, but torch cannot use it ({why})"


def has_nvidia_gpu() -> bool:
    """Whether there is one, or was meant to be, whatever torch can do with it."""
    files = any(Path(path).exists() for path in ("/proc/driver/nvidia", "/dev/nvidia0"))
    return files or shutil.which("nvidia-smi") is not None or torch.cuda.device_count() > 0


def why_no_cuda() -> str:
    """What torch says when it tries to begin with CUDA, in its first sentence and, if there is one, CUDA's error."""
    try:
        torch.cuda.init()
        told = "no reason is known"
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that is built without CUDA
        told = str(error)
    number = re.search(r"Error \d+: [^.\n]+", told)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    parts = [
        re.split(r"\.(?:\s|$)", told.strip(), maxsplit=1)[0],
        number.group() if number else "",
        "" if hidden is None else f"CUDA_VISIBLE_DEVICES is {hidden!r}",
    ]
    return "; ".join(filter(None, parts))


def missing_code(gpu: int) -> str | None:
    """Why this torch has no code for a GPU, or cannot ask it; None if it has, or, on ROCm, if that is not known."""
    built = torch.cuda.get_arch_list()
    try:
        capability = torch.cuda.get_device_capability(gpu)
    except RuntimeError as error:  # a GPU that is broken, or another process's alone
        return f"torch cannot use this GPU ({str(error).partition(chr(10))[0]})"
    if torch.version.hip or not built or any(runs_on(code, capability) for code in built):
        return None
    return (
        f"{torch.cuda.get_device_name(gpu)} has compute capability {'.'.join(map(str, capability))}, for which this "
        f"torch ({torch.__version__}) has no code: it was built for {', '.join(built)}"
    )


def runs_on(code: str, capability: tuple[int, int]) -> bool:
    """Whether code that torch was built with, such as sm_86 or compute_90, runs on a GPU of this compute capability.

    Binary code (sm) runs on its major version from its minor version up, intermediate code (compute), which the driver
    compiles, on every later one; with the suffix a, code is for one capability alone. A name of another kind is
    trusted to run.
    """
    known = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", code)
    if known is None:
        return True
    kind, major, minor, suffix = known.groups()
    target = int(major), int(minor)
    if suffix == "a":
        return capability == target
    later = capability >= target
    return later if (kind, suffix) == ("compute", "") else later and capability[0] == target[0]


# --- memory -----------------------------------------------------------------------------------------------------------


@contextmanager
def room_for(what: str, device: torch.device) -> Iterator[None]:
    """Around copying a data set to its device: InputError that says what helps, if it does not fit there."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{what} do not fit into the free memory of {device}: a GPU with more (--gpu) or the CPU (--gpu -1) may "
            "hold them, or, for image folders, a smaller --image_size"
        ) from None
