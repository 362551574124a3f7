"""What `inspector` uses of `tensorrt` to build and to run a plan, over the simulated GPU.

Held against the real bindings of TensorRT 10 and 11.
"""

from __future__ import annotations

import enum
import threading
from typing import Any

import onnx as _onnx

from tests.engine.simulated_gpu.building import (
    Builder,
    BuilderFlag,
    IBuilderConfig,
    IHostMemory,
    INetworkDefinition,
    IOptimizationProfile,
    IProgressMonitor,
    ITensor,
    ITimingCache,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    ParserError,
)
from tests.engine.simulated_gpu.machine import Line, RefusedError, Work, machine
from tests.engine.simulated_gpu.plan import CAPABILITY, VERSION, open_plan

__version__ = VERSION
__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorIOMode",
    "float32",
    "int8",
    "uint8",
]


class DataType(enum.Enum):
    FLOAT = 0
    INT8 = 2
    UINT8 = 5


float32, int8, uint8 = DataType.FLOAT, DataType.INT8, DataType.UINT8
_KINDS = {_onnx.TensorProto.FLOAT: float32, _onnx.TensorProto.UINT8: uint8}


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None:
        self._made = True

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


def _say(logger: ILogger, what: str) -> None:
    logger.log(ILogger.Severity.ERROR, what)


def _call(name: str, logger: ILogger) -> bool:
    """Whether a call went well; where not, the log says why, as TensorRT has it."""
    try:
        machine.call(name)
    except RefusedError as error:
        _say(logger, f"{name}: Error Code 1: Cuda Runtime ({error.reason})")
        return False
    return True


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        assert logger._made, "ILogger.__init__ was not called"
        self._logger = logger
        if not _call("createInferRuntime", logger):
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not _call("deserializeCudaEngine", self._logger):
            return None
        try:
            facts, model = open_plan(serialized_engine)
        except ValueError as error:
            _say(self._logger, f"IRuntime::deserializeCudaEngine: {error}")
            return None
        if (facts["version"], facts["compute_capability"]) != (__version__, CAPABILITY):
            _say(
                self._logger,
                f"The engine plan file is not compatible with this version of TensorRT, "
                f"expecting library version {__version__} got {facts['version']}",
            )
            return None
        return ICudaEngine(facts, model, self._logger)


class ICudaEngine:
    def __init__(self, facts: dict[str, Any], model: bytes, logger: ILogger) -> None:
        graph = _onnx.load_from_string(model).graph
        self._facts, self._model, self._logger = facts, model, logger
        self._ports = [
            *((port, TensorIOMode.INPUT) for port in graph.input),
            *((port, TensorIOMode.OUTPUT) for port in graph.output),
        ]
        self._generation = machine.generation
        machine.count("engine", 1)

    @property
    def num_io_tensors(self) -> int:
        return len(self._ports)

    def get_tensor_name(self, index: int) -> str:
        return self._ports[index][0].name

    def _port(self, name: str) -> tuple[Any, TensorIOMode]:
        return next(one for one in self._ports if one[0].name == name)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._port(name)[1]

    def get_tensor_dtype(self, name: str) -> DataType:
        return _KINDS[self._port(name)[0].type.tensor_type.elem_type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        dims = self._port(name)[0].type.tensor_type.shape.dim
        return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        return [tuple(self._facts[which]) for which in ("least", "best", "most")]

    def create_execution_context(self) -> IExecutionContext | None:
        if not _call("createExecutionContext", self._logger):
            return None
        return IExecutionContext(self)

    def __del__(self) -> None:
        if getattr(self, "_generation", None) is machine.generation:
            machine.gone("an engine")
            machine.count("engine", -1)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._owner = threading.get_ident()
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] | None = None
        self._profile: int | None = None
        self._under_way: tuple[Line, Work] | None = None
        self._generation = machine.generation
        machine.count("execution context", 1)

    def _may(self, name: str) -> bool:
        if threading.get_ident() != self._owner:
            machine.wrong(f"{name}: an execution context is used by a second thread")
        return _call(name, self._engine._logger)

    def _busy(self) -> bool:
        return self._under_way is not None and self._under_way[1] in self._under_way[0].work

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not self._may("setOptimizationProfileAsync"):
            return False
        self._profile = profile_index
        return profile_index == 0

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._busy():
            machine.wrong("the address of a tensor is changed while it is in use")
        if not self._may("setTensorAddress"):
            return False
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if not self._may("setInputShape"):
            return False
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        fits = self._profile is not None and all(
            low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
        )
        self._shape = tuple(shape) if fits else None
        return fits

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not self._may("enqueueV3"):
            return False
        line = next((line for line in machine.lines if id(line) == stream_handle), None)
        if line is None or self._shape is None:
            machine.wrong("enqueueV3 with a stream that is not there, or without a shape")
        if self._busy() and self._under_way[0] is not line:
            machine.wrong("an execution context is used on two streams at once")
        image, rows = (port.name for port, _ in self._engine._ports)
        work = machine.infer(
            line,
            self._engine._model,
            image,
            (self._addresses[image], self._shape),
            self._addresses[rows],
        )
        self._under_way = (line, work)
        return True

    def __del__(self) -> None:
        if getattr(self, "_generation", None) is machine.generation:
            machine.gone("an execution context")
            machine.count("execution context", -1)
