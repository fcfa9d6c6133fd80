"""Memory of the CPU."""

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Tells glibc's allocator to keep what is freed instead of giving it back to the system after every outer step.

    Each step frees hundreds of megabytes and needs them again at once; the system would have to clear every page anew.
    It holds for the whole process, and for blocks of any size. Does nothing where the C library is another one.
    """
    with suppress(AttributeError, OSError, TypeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(TRIM_THRESHOLD, 2**31 - 1)
        allocator.mallopt(MMAP_MAX, 0)  # none from the system's mmap, which clears them each time
