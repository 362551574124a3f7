"""What signals set: never in the way of the thread that waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from inspector.cli.stopping import TURN_S, Asked

HAMMERED = """
import os, signal, threading, time
from inspector.cli.stopping import asked_to_stop

stop = asked_to_stop()
over = time.monotonic() + 5

def hammer():
    while time.monotonic() < over:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.0002)

hammering = threading.Thread(target=hammer)
hammering.start()
seen = 0
while hammering.is_alive():
    seen += stop.wait(0)
    stop.clear()
print(seen > 0)
"""


def test_a_signal_at_any_step_of_the_waiting_thread_is_noticed():
    """With an Event this ends in a deadlock, or in a recursion without end, within a second."""
    done = subprocess.run(
        [sys.executable, "-c", HAMMERED], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_wait_ends_with_its_time_or_what_it_waits_for():
    asked = Asked()
    assert not asked.wait(0)
    assert not asked.wait(0.01)
    threading.Timer(0.05, asked.set).start()
    assert asked.wait()
    assert asked.wait(100)
    asked.clear()
    assert not asked.is_set()
    began = time.monotonic()
    assert not asked.wait(2 * TURN_S)
    assert time.monotonic() - began >= 2 * TURN_S


def test_a_signal_is_noticed_while_it_waits():
    before = signal.getsignal(signal.SIGUSR1)
    asked = Asked()
    signal.signal(signal.SIGUSR1, lambda *_: asked.set())
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert asked.wait(60)
    finally:
        signal.signal(signal.SIGUSR1, before)
