"""The box: its clock, its memory, its processor, and the port of the page."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.config.cameras import PatternSource, Region
from inspector.doctor.finding import Finding, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.config.cameras import Camera
    from inspector.config.station import Station
    from inspector.doctor.state import RunningStation

MOST_CLOCK_ERROR_S = 1.0
"""A clock that may be further off says nothing of when a part went by."""
MAIN_BYTES = 400_000_000
"""Of the main process with its engines, as measured and some more (docs/performance.md)."""
WORKER_BYTES = 130_000_000
"""Of one camera's worker without its slots; the bound that `inspector bench` holds it against."""

_TIMEX_BYTES, _STATUS_AT, _ERROR_AT = 208, 40, 24
"""`struct timex` on 64-bit Linux: its size, where `status` and `maxerror` (microseconds) lie."""
_STA_UNSYNC = 0x0040


def check_clock() -> Iterator[Finding]:
    """Ask the kernel whether anything keeps its clock right."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
        why = os.strerror(ctypes.get_errno())
        yield Finding("clock", "", Grade.NOTE, f"the kernel does not tell: {why}")
        return
    (status,) = struct.unpack_from("i", buffer, _STATUS_AT)
    (error_us,) = struct.unpack_from("q", buffer, _ERROR_AT)
    yield clock_finding(error_us / 1e6, synchronised=not status & _STA_UNSYNC)


def clock_finding(error_s: float, *, synchronised: bool) -> Finding:
    """What the kernel's word on its clock means. Pure.

    Args:
        error_s: how far off the clock may be.
        synchronised: whether a time service keeps it right.
    """
    expected = f"synchronised, at most {MOST_CLOCK_ERROR_S:g} s off"
    remedy = (
        "start a time service (chrony, systemd-timesyncd): times in events would be wrong, and "
        "certificates and the broker may be refused"
    )
    if not synchronised:
        found = "nothing keeps the clock right, as far as the kernel knows"
        return Finding("clock", "", Grade.MEND, found, expected, remedy)
    found = f"synchronised, at most {error_s:.3g} s off"
    facts = {"max_error_s": error_s}
    if error_s > MOST_CLOCK_ERROR_S:
        return Finding("clock", "", Grade.MEND, found, expected, remedy, facts)
    return Finding("clock", "", Grade.GOOD, found, expected, "", facts)


def check_memory(station: Station) -> Iterator[Finding]:
    """Hold what the station may need against what this box has left."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if " kB" in line}
    yield memory_finding(values["MemAvailable"], values["MemTotal"], needed_bytes(station))


def memory_finding(free: int, total: int, needed: int) -> Finding:
    """What is left against what is needed, in bytes. Pure."""
    short = free < needed
    return Finding(
        "memory",
        "",
        Grade.MEND if short else Grade.GOOD,
        f"{free / 1e9:.1f} GB available of {total / 1e9:.1f} GB",
        f"{needed / 1e9:.1f} GB: main process, workers, and all slots of all cameras filled",
        "lower max_megapixels or slots of the cameras, or have fewer of them" if short else "",
        {"available_bytes": free, "needed_bytes": needed},
    )


def needed_bytes(station: Station) -> int:
    """The most that a station takes: its processes, and all slots filled. Pure.

    A picture of unknown size counts as the largest that its camera may have.
    """
    cameras = station.cameras.values()
    return MAIN_BYTES + sum(WORKER_BYTES + _slot_bytes(camera) for camera in cameras)


def _slot_bytes(camera: Camera) -> int:
    part = camera.region or camera.source
    pixels = camera.max_megapixels * 1e6
    if isinstance(part, Region | PatternSource):
        pixels = part.width * part.height
    return round(camera.slots * pixels * 3)


_INT8 = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"})
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def check_cpu() -> Iterator[Finding]:
    """What the processor computes fast."""
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    yield cpu_finding(words, len(os.sched_getaffinity(0)))


def cpu_finding(cpuinfo: str, cpus: int) -> Finding:
    """What /proc/cpuinfo says of instructions for int8 and bf16. Pure."""
    pairs = [line.partition(":") for line in cpuinfo.splitlines()]
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    has = [name for name, wanted in (("int8", _INT8), ("bf16", _BF16)) if flags & wanted]
    model = facts.get("model name", "a processor")
    told = " and ".join(has) if has else "neither int8 nor bf16"
    slow = not has
    return Finding(
        "cpu",
        "",
        Grade.NOTE if slow else Grade.GOOD,
        f"{cpus} processors, {model}, with instructions for {told}",
        "instructions for int8 or bf16",
        "count on a third of the speed, or take a box with newer instructions" if slow else "",
        {"processors": cpus, "int8": "int8" in has, "bf16": "bf16" in has},
    )


def check_page(station: Station, running: RunningStation | None) -> Iterator[Finding]:
    """Whether the page's address is free; of a running station it is taken, and rightly so."""
    web = station.web
    expected = "an address of this box that is free"
    kind = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((web.host, web.port))
        except OSError as error:
            if running is not None and error.errno == errno.EADDRINUSE:
                found = f"{web.listen}, in use by the running station ({running})"
                yield Finding("page", "", Grade.GOOD, found, expected)
                return
            found = f"{web.listen} cannot be listened on: {error.strerror}"
            remedy = "end what uses it, or set another address under web: listen"
            yield Finding("page", "", Grade.MEND, found, expected, remedy)
            return
    yield Finding("page", "", Grade.GOOD, f"{web.listen} is free", expected)
