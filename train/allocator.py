"""Keep glibc from giving large buffers back to the system after each step.

A training step on a CPU frees and asks again for hundreds of megabytes of activations. By default
glibc maps each anew, and the system fills every page with zeros: on two cores that took 40 % of
the time of SimpleNet's training step.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def keep_large_buffers() -> bool:
    """Tell glibc to keep freed memory; False where there is no glibc to tell."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    largest = 2**31 - 1
    return bool(
        mallopt(_M_MMAP_MAX, 0)
        and mallopt(_M_TRIM_THRESHOLD, largest)
        and mallopt(_M_TOP_PAD, 256 * 2**20)
    )
