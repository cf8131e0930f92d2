"""How the C library's allocator keeps memory that is freed."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGEST, LARGEST_BEFORE_2_35 = 2**31 - 1, 2**25


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next allocation; whether it could be told.

    A training step on a CPU frees its activations, hundreds of megabytes, and allocates the same again in the next
    step. By default glibc gives them back to the system in between, which then has to clear every page anew. The peak
    stays as it is. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST) or mallopt(M_MMAP_THRESHOLD, LARGEST_BEFORE_2_35)
    return bool(mallopt(M_TRIM_THRESHOLD, LARGEST) and kept)
