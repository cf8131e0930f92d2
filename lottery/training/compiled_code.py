"""Where torch keeps the code that it has compiled, so that later runs and processes need not compile it again.

torch finds compiled code by what it was compiled from. Its own default is a folder below /tmp, which a restart of the
machine empties.
"""

import hashlib
import os
import platform
import tempfile
from pathlib import Path

import torch

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # torch's own, which has precedence


def keep_compiled_code() -> Path | None:
    """Have torch keep compiled code in `cache_folder`, for this process and those that it starts; that folder. None
    where the user has chosen one by TORCHINDUCTOR_CACHE_DIR, or where nothing can be written: torch's default holds."""
    if is_chosen(os.environ.get(VARIABLE)):
        return None
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    if not os.access(folder, os.W_OK):
        return None
    os.environ[VARIABLE] = str(folder)
    return folder


def is_chosen(folder: str | None) -> bool:
    """Whether the variable names a folder that is not torch's default, which torch itself puts there."""
    if not folder:
        return False
    path, temporary = Path(folder).resolve(), Path(tempfile.gettempdir()).resolve()
    return path.parent != temporary or not path.name.startswith("torchinductor_")


def cache_folder() -> Path:
    """Below XDG_CACHE_HOME or ~/.cache a folder for this torch, processor and number of threads.

    Code is compiled for all three, and not every version of torch asks for them when it looks code up. Homes are often
    shared by machines whose processors differ, where code of the one may not run on the other.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    root = Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache"
    threads = torch.get_num_threads()
    return root / "lottery" / "compiled" / f"torch-{torch.__version__}-{processor_digest()}-{threads}-threads"


def processor_digest() -> str:
    """Eight digits that differ where processors have other instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    described = [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability(), flags]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:8]
