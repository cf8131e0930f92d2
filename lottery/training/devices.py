"""Choosing the device: which GPUs torch can use here, and why it cannot use the others."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from lottery import ranks
from lottery.terminal import counted
from utils import InputError, is_out_of_memory


def pick_device(gpu: int | None, log: Callable[[str], object] = print) -> torch.device:
    """CUDA device number `gpu`; the CPU for -1; for None the first usable GPU, or the CPU if there is none. Of several
    ranks on this machine each takes the usable GPU of its own number.

    InputError if the GPU asked for cannot be used. With None, `log` gets a note if the machine has a GPU that cannot.
    """
    if gpu is None:
        usable = usable_gpus()
        check_enough(usable)
        gpu = usable[ranks.local_rank()] if usable else -1
        if not usable and (why := why_gpu_is_unused()):
            log(f"note: computing on the CPU: {why}")
    elif gpu != -1:
        check_gpu(gpu)
    if gpu == -1:
        return torch.device("cpu")
    torch.cuda.set_device(gpu)  # streams and graphs are made on the current device
    return torch.device("cuda", gpu)


@contextmanager
def gradients_in_evaluation(network: nn.Module) -> Iterator[None]:
    """Within, gradients can be taken in evaluation mode, and second ones, of recurrent layers, too: cuDNN's have the
    former in training mode alone and the latter not at all."""
    before = torch.backends.cudnn.enabled  # alone: `cudnn.flags` would set the number formats of products, too
    torch.backends.cudnn.enabled = before and not any(isinstance(module, nn.RNNBase) for module in network.modules())
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def usable_gpus() -> list[int]:
    """The CUDA devices that torch can compute on; torch counts devices even if the driver does not work."""
    if not torch.cuda.is_available():
        return []
    return [gpu for gpu in range(torch.cuda.device_count()) if why_not_usable(gpu) is None]


def check_enough(usable: list[int]) -> None:
    """InputError if ranks would have to share a GPU."""
    if usable and ranks.local_count() > len(usable):
        raise InputError(
            f"torchrun started {ranks.local_count()} ranks on this machine, where torch can use "
            f"{counted(len(usable), 'GPU')}, and each needs one: give --nproc-per-node {len(usable)}, or --gpu -1 to "
            "compute on the CPU"
        )


def check_gpu(gpu: int, cpu: str = "--gpu -1") -> None:
    """InputError unless torch can compute on this CUDA device; `cpu` is the flag that selects the CPU."""
    if not torch.cuda.is_available():
        raise InputError(f"--gpu {gpu}: torch cannot use CUDA here ({why_no_cuda()}); {cpu} is the CPU")
    if gpu >= (count := torch.cuda.device_count()):
        raise InputError(f"--gpu {gpu}: torch sees {count} CUDA device{'s' * (count > 1)}, numbered from 0")
    if why := why_not_usable(gpu):
        raise InputError(f"--gpu {gpu}: {why}")


# --- why a GPU cannot be used -----------------------------------------------------------------------------------------


def why_gpu_is_unused() -> str | None:
    """Why torch can use no GPU of this machine; None if it has no GPU."""
    if torch.backends.mps.is_available():
        return "the suite does not use Apple GPUs (MPS)"
    if not has_nvidia_gpu():
        return None
    why = why_not_usable(0) if torch.cuda.is_available() else why_no_cuda()
    return f"this machine has an NVIDIA GPU, but torch cannot use it ({why})"


def has_nvidia_gpu() -> bool:
    """Whether the machine has an NVIDIA GPU or driver, usable or not."""
    files = any(Path(path).exists() for path in ("/proc/driver/nvidia", "/dev/nvidia0"))
    return files or shutil.which("nvidia-smi") is not None or torch.cuda.device_count() > 0


def why_no_cuda() -> str:
    """Why torch cannot initialise CUDA: the first sentence of its error, CUDA's error number, CUDA_VISIBLE_DEVICES."""
    try:
        torch.cuda.init()
        message = "no reason is known"
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that is built without CUDA
        message = str(error)
    number = re.search(r"Error \d+: [^.\n]+", message)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    parts = [
        re.split(r"\.(?:\s|$)", message.strip(), maxsplit=1)[0],
        number.group() if number else "",
        "" if hidden is None else f"CUDA_VISIBLE_DEVICES is {hidden!r}",
    ]
    return "; ".join(filter(None, parts))


def why_not_usable(gpu: int) -> str | None:
    """Why this torch cannot compute on a GPU: no kernels for it, or it does not respond. None if it can, and on ROCm,
    where this is not known."""
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
    """Whether torch's kernels for `code`, such as sm_86 or compute_90, run on a GPU of this compute capability.

    Binary code (sm) runs on the same major version from its minor version up; intermediate code (compute), which the
    driver compiles, on every later one; code with suffix a on that capability only. Unknown names are assumed to run.
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


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a GPU; None for the CPU, whose memory the readers know."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


@contextmanager
def explain_out_of_memory(what: str, device: torch.device) -> Iterator[None]:
    """Around copying a data set to its device: an InputError with advice if it does not fit there."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{what} do not fit into the free memory of {device}: a GPU with more (--gpu) or the CPU (--gpu -1) may "
            "hold them, or, for image folders, a smaller --image_size or --data_in files"
        ) from None
