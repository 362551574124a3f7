"""The simulated GPU notices what a real one would answer with nonsense."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.engine.simulated_gpu.machine import machine

SIZE = 64


@pytest.fixture
def cuda(simulated_libraries):
    import pycuda.driver

    machine.reset(schedule=(0,))  # it moves only at the end of each round: when the host waits
    pycuda.driver.init()
    return pycuda.driver


@pytest.fixture
def context(cuda):
    context = cuda.Device(0).retain_primary_context()
    context.push()
    yield context
    machine.lost = False
    machine.lines.clear()
    cuda.Context.pop()
    context.detach()


def fault():
    (only,) = machine.faults
    return only


def test_work_has_no_effect_before_its_stream_gets_there(cuda, context):
    stream, event = cuda.Stream(), cuda.Event(cuda.event_flags.DISABLE_TIMING)
    there = cuda.mem_alloc(4 * SIZE)
    sent = cuda.pagelocked_empty((SIZE,), np.float32)
    back = cuda.pagelocked_empty((SIZE,), np.float32)
    sent[:] = 7
    cuda.memcpy_htod_async(there, sent, stream)
    cuda.memcpy_dtoh_async(back, there, stream)
    event.record(stream)
    assert np.isnan(back).all()
    event.synchronize()
    assert (back == 7).all()
    assert machine.faults == []


def test_a_host_buffer_written_under_way(cuda, context):
    stream = cuda.Stream()
    there = cuda.mem_alloc(SIZE)
    sent = cuda.pagelocked_empty((SIZE,), np.uint8)
    cuda.memcpy_htod_async(there, sent, stream)
    sent[:] += 1
    with pytest.raises(cuda.LaunchError):
        stream.synchronize()
    assert fault() == "a host buffer was written while it was copied from"


def test_device_memory_that_was_never_written(cuda, context):
    stream = cuda.Stream()
    back = cuda.pagelocked_empty((SIZE,), np.uint8)
    cuda.memcpy_dtoh_async(back, cuda.mem_alloc(SIZE), stream)
    with pytest.raises(cuda.LaunchError):
        stream.synchronize()
    assert fault() == "device memory was copied out before anything was written to it"


def test_the_end_of_an_allocation(cuda, context):
    stream = cuda.Stream()
    there = cuda.mem_alloc(SIZE)
    cuda.memcpy_htod_async(int(there) + 1, cuda.pagelocked_empty((SIZE,), np.uint8), stream)
    with pytest.raises(cuda.LaunchError):
        stream.synchronize()
    assert "is not there for 64 bytes" in fault()


def test_memory_that_is_not_page_locked(cuda, context):
    with pytest.raises(cuda.LogicError):
        cuda.memcpy_htod_async(cuda.mem_alloc(SIZE), np.zeros(SIZE, np.uint8), cuda.Stream())
    assert fault() == "a copy to or from host memory that is not page-locked"


def test_memory_freed_under_way(cuda, context):
    stream = cuda.Stream()
    there = cuda.mem_alloc(SIZE)
    cuda.memcpy_htod_async(there, cuda.pagelocked_empty((SIZE,), np.uint8), stream)
    with pytest.raises(cuda.LogicError):
        there.free()
    assert fault() == "device memory is freed while work is on the way"


def test_memory_freed_twice(cuda, context):
    there = cuda.mem_alloc(SIZE)
    there.free()
    with pytest.raises(cuda.LogicError):
        there.free()
    assert fault() == "device memory is freed twice"


def test_memory_never_freed(cuda, context):
    there = cuda.mem_alloc(SIZE)
    assert machine.left() == {"context": 1, "device memory": 1}
    there.free()
    assert machine.left() == {"context": 1}


def test_a_call_from_another_thread(cuda, context):
    caught = []

    def call():
        try:
            cuda.Stream()
        except cuda.LogicError as error:
            caught.append(error)

    thread = threading.Thread(target=call, name="another")
    thread.start()
    thread.join()
    assert caught
    assert fault() == "cuStreamCreate without a context in another"


def test_a_stream_that_outlives_its_context(cuda):
    context = cuda.Device(0).retain_primary_context()
    context.push()
    stream = cuda.Stream()
    cuda.Context.pop()
    context.detach()
    assert machine.faults == []
    del stream
    assert fault() == "a stream outlived the context, or was dropped in another thread"
