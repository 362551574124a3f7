"""What an OpenVINO engine costs in a process of its own, and how long its loss takes to notice.

    python -m tests.bench.bench_engine_process [ENGINE] [--rounds N] [--threads N] [--folder F]

Both run the same network in turn, in short rounds, so that other work on the machine weighs on both
alike; told are medians over the rounds and the ratio of each round's pair, and processor time, on
which other work weighs less. Then an engine process is killed and stopped while batches are in
flight, with a warm standby beside it: told is the time until the standby judges, and until every
frame in flight has its verdict.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.engine.bench import batches_per_s, latencies_s
from inspector.engine.folders import find_engine
from inspector.engine.golden import read_golden
from inspector.engine.jobs import Job
from inspector.engine.load import load_engine
from inspector.engine.occupant import Occupant
from inspector.engine.ordering import Entry
from inspector.engine.process.opening import open_engine
from inspector.engine.process.spec import OpenVinoSpec
from inspector.engine.seat import Seat
from inspector.engine.tile_ring import TileRing
from inspector.frame import Frame

if TYPE_CHECKING:
    from inspector.engine.load import Engine

LOSSES = 20
WAIT_S = 60.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", nargs="?", default="simplenet")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    ours = load_engine(
        find_engine(asked.engine, asked.folder), precision=asked.precision, threads=asked.threads
    )
    batch = ours.runtime.max_batch
    spec = OpenVinoSpec(ours.manifest.folder, asked.precision, batch, asked.threads)
    revive = partial(open_engine, ours.manifest, spec)
    began, before = time.monotonic(), memory_mb(os.getpid())
    theirs = revive()
    print(
        f"{asked.engine} {asked.precision}, {asked.threads or 'all'} threads; "
        f"{len(os.sched_getaffinity(0))} processors with a load of {os.getloadavg()[0]:.0f}\n"
        f"its own process: warm after {time.monotonic() - began:.1f} s, "
        f"{memory_mb(theirs.runtime.pid):.0f} MB of its own; this process has {before:.0f} MB"
    )
    try:
        for size in sorted({1, batch}):
            compare(ours, theirs, size, asked.rounds, asked.seconds)
        for name, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
            losses(name, number, ours, revive)
    finally:
        theirs.close()
        ours.close()


def compare(ours: Engine, theirs: Engine, batch: int, rounds: int, seconds: float) -> None:
    """Throughput with two batches in flight, then latency of one alone."""
    golden, size = read_golden(ours.manifest), ours.manifest.sampling.tile
    ring = TileRing("bench", slots=1, tiles=batch, size=size)
    ring.column(0, batch)[:] = golden.tiles[np.arange(batch) % len(golden.tiles)]
    refs = ring.refs(0, batch)
    rates: list[list[float]] = [[], []]
    waits: list[list[float]] = [[], []]
    works: list[list[float]] = [[], []]
    pid = theirs.runtime.pid
    with ExitStack() as stack:
        stack.callback(ring.close)
        for engine in (ours, theirs):
            engine.runtime.map_ring(ring.ring)
            stack.callback(engine.runtime.unmap_ring, ring.ring.key)
        for number in range(rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                runtime = (ours, theirs)[which].runtime
                worked, began = processor_s(os.getpid(), pid), time.perf_counter()
                rate = batches_per_s(runtime, refs, seconds)
                batches = rate * (time.perf_counter() - began)
                works[which].append((processor_s(os.getpid(), pid) - worked) / batches)
                rates[which].append(rate * batch)
                waits[which].append(statistics.median(latencies_s(runtime, refs, seconds)))
    for where, name in enumerate(("this process", "its own")):
        print(
            f"batch {batch}, in {name:12}: {statistics.median(rates[where]):7.1f} tiles/s, "
            f"{statistics.median(waits[where]) * 1e3:7.2f} ms a batch, "
            f"{statistics.median(works[where]) * 1e3:7.2f} ms of processor time a batch"
        )
    print(f"batch {batch}, own process against this one, of {rounds} rounds:")
    print(f"    tiles/s         times {spread([b / a for a, b in zip(*rates, strict=True)])}")
    print(f"    ms a batch      {spread([(b - a) * 1e3 for a, b in zip(*waits, strict=True)])}")
    print(f"    processor time  times {spread([b / a for a, b in zip(*works, strict=True)])}")


def spread(values: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} (quartiles {low:.3f} to {high:.3f})"


def memory_mb(pid: int) -> float:
    """What a process has for itself."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def processor_s(*pids: int) -> float:
    """Processor time that processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def losses(name: str, number: int, standby: Engine, revive) -> None:
    """Lose engine processes, one after the other, with two batches in flight."""
    moved, judged = [], []
    batch = standby.runtime.max_batch
    golden, size = read_golden(standby.manifest), standby.manifest.sampling.tile
    for _ in range(LOSSES):
        engine = revive()
        seat = Seat(Occupant(engine, standby))
        ring = TileRing("bench", slots=1, tiles=batch, size=size)
        ring.column(0, batch)[:] = golden.tiles[np.arange(batch) % len(golden.tiles)]
        seat.map_ring(ring.ring)
        refs = ring.refs(0, batch)
        done: list[Job] = []
        for sequence in range(2):
            entry = Entry(Frame("bench", 1, sequence, 0, 0, 0, 0, 0))
            turn = seat.turn()
            turn.submit(
                [Job(entry, turn.engine, refs, submitted_ns=0)],
                done.append,
                again=lambda _, job: job.tiles,
            )
        os.kill(engine.runtime.pid, number)
        began = time.monotonic()
        while seat.engine is engine:
            time.sleep(0.0005)
        moved.append(time.monotonic() - began)
        while len(done) < 2:
            time.sleep(0.0005)
        judged.append(time.monotonic() - began)
        assert all(job.error is None for job in done)
        engine.close()
        seat.unmap_ring(ring.ring.key)
        ring.close()
    print(
        f"{name}, {LOSSES} times: the standby judges after {statistics.median(moved) * 1e3:.0f} ms "
        f"(longest {max(moved) * 1e3:.0f}), the frames in flight are judged after "
        f"{statistics.median(judged) * 1e3:.0f} ms (longest {max(judged) * 1e3:.0f})"
    )


if __name__ == "__main__":
    main()
