"""The building half of the simulated TensorRT: behaviour where the real one has it, and no more.

It reads the ONNX file with onnx, refuses what the real parser would refuse, reports its phases from
threads of its own, measures its "layers" once and then takes them from the timing cache, and runs
out of memory where the device is said to be full. What is used in another way than the real library
allows is a `MisuseError`, not a shrug. Its plan is a header and the ONNX file, so that the runtime
half can run it (`plan.open_plan`).
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import signal
import threading
import time

import onnx
import tensorrt

from tests.engine.simulated_gpu.device import Device
from tests.engine.simulated_gpu.plan import MAGIC

_KINDS = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.UINT8: "UINT8"}


class MisuseError(BaseException):
    """The library was called in a way that the real one does not allow."""


device = Device()
"""The one that the process has."""


class IProgressMonitor:
    def __init__(self):
        self._made = True

    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError

    def step_complete(self, phase_name, step):
        raise NotImplementedError

    def phase_finish(self, phase_name):
        raise NotImplementedError


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class BuilderFlag(enum.IntEnum):
    TF32 = 6


class IHostMemory:
    """Bytes of the library; by the buffer protocol only, as the real one."""

    def __init__(self, content):
        self._content = bytes(content)
        self.nbytes = len(content)

    def __bytes__(self):
        return self._content


class ITensor:
    def __init__(self, value):
        self.name = value.name
        self.dtype = tensorrt.DataType[_KINDS[value.type.tensor_type.elem_type]]
        dims = value.type.tensor_type.shape.dim
        self.shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)


class INetworkDefinition:
    def __init__(self, flags):
        self._flags = flags
        self._model = None

    @property
    def num_inputs(self):
        return len(self._graph.input)

    @property
    def num_outputs(self):
        return len(self._graph.output)

    def get_input(self, index):
        return ITensor(self._graph.input[index])

    def get_output(self, index):
        return ITensor(self._graph.output[index])

    @property
    def _graph(self):
        return self._model.graph


class ParserError:
    def __init__(self, node, desc):
        self._node, self._desc = node, desc

    def node_operator(self):
        return self._node.op_type if self._node else ""

    def node_name(self):
        return self._node.name if self._node else ""

    def desc(self):
        return self._desc


class OnnxParser:
    def __init__(self, network, logger):
        if not isinstance(network, INetworkDefinition) or not logger._made:
            raise MisuseError("OnnxParser(network, logger)")
        self._network, self._logger = network, logger
        self._errors = []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        try:
            parsed = onnx.load_model_from_string(bytes(model))
        except Exception:  # noqa: BLE001 - whatever protobuf raises
            self._errors.append(ParserError(None, "Failed to parse the ONNX model"))
            return False
        for node in parsed.graph.node:
            if node.domain not in {"", "ai.onnx"} or node.op_type in device.unsupported:
                self._errors.append(ParserError(node, f"No importer registered for {node.op_type}"))
        if self._errors:
            return False
        self._network._model = parsed
        return True


class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):  # noqa: A002 - the library's own names
        if not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError("invalid profile")
        self._shapes[input] = (tuple(min), tuple(opt), tuple(max))


class ITimingCache:
    def __init__(self, measured):
        self._measured = dict(measured)

    def serialize(self):
        of = {"version": device.version, "gpu": device.gpu, "measured": self._measured}
        return IHostMemory(json.dumps(of).encode())


class IBuilderConfig:
    def __init__(self):
        self.builder_optimization_level = 3
        self.progress_monitor = None
        self._profiles = []
        self._flags = {BuilderFlag.TF32}
        self._workspace = device.free_mb << 20
        self._cache = ITimingCache({})

    def set_memory_pool_limit(self, pool, pool_size):
        if pool is not MemoryPoolType.WORKSPACE:
            raise MisuseError(f"memory pool {pool}")
        self._workspace = pool_size

    def clear_flag(self, flag):
        self._flags.discard(BuilderFlag(flag))

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        content = bytes(serialized_timing_cache)
        cache = ITimingCache({})
        cache._foreign = False
        if content:
            of = json.loads(content)
            cache._measured = of["measured"]
            cache._foreign = (of["version"], of["gpu"]) != (device.version, device.gpu)
        return cache

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._foreign and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


_NO_CONTEXT = "CUDA initialization failure with error: 2. Please check your CUDA installation)"


class Builder:
    def __init__(self, logger):
        if not getattr(logger, "_made", False):
            raise MisuseError("the logger's __init__ was not called")
        self._logger = logger
        if not device.free_mb:  # not even for a context
            _error(logger, "createInferBuilder: Error Code 6: API Usage Error (" + _NO_CONTEXT)
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags=0):
        strongly = flags & 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        if int(device.version.split(".")[0]) < 11 and not strongly:
            raise MisuseError("precision lives in the file: the network must be strongly typed")
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        if network._model is None:
            raise MisuseError("the network is empty")
        monitor = config.progress_monitor
        if monitor is not None and not getattr(monitor, "_made", False):
            raise MisuseError("the monitor's __init__ was not called")
        for value in network._model.graph.input:
            if not config._profiles or value.name not in config._profiles[0]._shapes:
                said = f"no optimization profile for {value.name}"
                _error(self._logger, said)
                return None
        most = config._profiles[0]._shapes[network._model.graph.input[0].name][2]
        needed_mb = (config._workspace >> 20) // 16 + most[0] * most[1] * most[2] * 12 // 2**20
        if needed_mb > device.free_mb:
            said = f"Error Code 2: OutOfMemory (Requested size was {needed_mb << 20} bytes.)"
            _error(self._logger, said)
            return None
        if not _in_another_thread(lambda: _run_phases(network, config, monitor)):
            _error(self._logger, "the build was cancelled")
            return None
        return IHostMemory(_plan(network, config))


def _error(logger, said):
    logger.log(tensorrt.ILogger.Severity.ERROR, said)


def _in_another_thread(call):
    # As the real library reports: not from the thread that asked for the build.
    answer = []
    thread = threading.Thread(target=lambda: answer.append(call()))
    thread.start()
    thread.join()
    return answer[0]


_TOP, _SUB, _TIMING = "Building Engine", "Building engine from subgraph", "Timing graph nodes"


def _run_phases(network, config, monitor):
    layers = [f"{n.op_type}:{n.output[0]}" for n in network._model.graph.node]
    cache = config.get_timing_cache()._measured
    unknown = [layer for layer in layers if layer not in cache]

    def start(name, parent, steps):
        if device.die_at == name:
            os.kill(os.getpid(), signal.SIGKILL)
        if device.hang_at == name:
            threading.Event().wait()
        if monitor is not None:
            monitor.phase_start(name, parent, steps)

    def step(name, number):
        return True if monitor is None else monitor.step_complete(name, number)

    def finish(name):
        if monitor is not None:
            monitor.phase_finish(name)

    start(_TOP, None, 2)
    start(_SUB, _TOP, 1)
    start(_TIMING, _SUB, max(1, len(unknown)))
    for number, layer in enumerate(unknown):
        cache[layer] = _measured()
        if not step(_TIMING, number):
            return False
    finish(_TIMING)
    step(_SUB, 0)
    finish(_SUB)
    step(_TOP, 0)
    step(_TOP, 1)
    finish(_TOP)
    return True


def _measured():
    """The time of a layer."""
    if not device.measures:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(device.step_s)
    return 1.0


def _plan(network, config):
    least, best, most = config._profiles[0]._shapes[network._model.graph.input[0].name]
    header = {
        "version": device.version,
        "compute_capability": device.compute_capability,
        "least": least,
        "best": best,
        "most": most,
        "level": config.builder_optimization_level,
        "tf32": BuilderFlag.TF32 in config._flags,
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    model = network._model.SerializeToString()
    body = json.dumps(header).encode() + b"\n" + model
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
