"""How the C library keeps memory that is free, and what the search for garbage passes over."""

import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_FREE = 16 << 20
LONGEST_FROM_HEAP = 8 << 20


def keep_freed_memory() -> bool:
    """Keep some megabytes that are free, instead of giving them back for each message; False where that cannot be said.

    A network map of hundreds of kilobytes passes through several buffers that live for microseconds. By its defaults
    glibc returns each to the kernel, and having the pages mapped again takes longer than sealing the map.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LONGEST_FROM_HEAP) and mallopt(M_TRIM_THRESHOLD, KEPT_FREE))


def pass_over_what_stays() -> None:
    """Takes what a server has made until it is ready out of the search for garbage.

    Modules, classes and models live as long as the process, and looking through them all takes some 50 ms or more.
    Callers that come and go bring that about, and everybody waits.
    """
    gc.collect()
    gc.freeze()
