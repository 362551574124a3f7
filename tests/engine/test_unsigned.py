"""What OpenVINO is given of an int8 file: unsigned steps where nothing negative can come."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from inspector.engine.derive import derived
from inspector.engine.unsigned import unsigned

SIDE = 12


@pytest.fixture(scope="module")
def residual():
    """A small residual network in int8: pixels around 0, sums that are not rounded, a pool."""
    rng = np.random.default_rng(4)
    weights: list[TensorProto] = []
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "middle"], ["pixels"]),
    ]

    def number(name, value, dtype=np.float32):
        weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def rounded(name, reach):
        q, dq = f"{name}_q", f"{name}_dq"
        if q not in {n.output[0] for n in nodes}:
            steps = [number(f"{name}_scale", reach / 127), number(f"{name}_zero", 0, np.int8)]
            nodes.append(helper.make_node("QuantizeLinear", [name, *steps], [q]))
            nodes.append(helper.make_node("DequantizeLinear", [q, *steps], [dq]))
        return dq

    def convolution(name, source, to, reach, side=3):
        planes = 3 if source == "pixels" else 8
        drawn = rng.integers(-64, 65, (to, planes, side, side))
        scale = number(f"{name}_scale", np.full(to, 0.3 / 64 / side))
        steps = [number(f"{name}_w", drawn, np.int8), scale]
        zero = number(f"{name}_zero", np.zeros(to), np.int8)
        nodes.append(helper.make_node("DequantizeLinear", [*steps, zero], [f"{name}_dq"], axis=0))
        inputs = [rounded(source, reach), f"{name}_dq"]
        nodes.append(helper.make_node("Conv", inputs, [name], pads=[side // 2] * 4))
        return name

    number("middle", 128)
    number("none", 0)
    number("most", 200)
    nodes.append(helper.make_node("Relu", [convolution("first", "pixels", 8, 128)], ["trunk"]))
    nodes.append(helper.make_node("Clip", [convolution("a", "trunk", 8, 300), "none"], ["inner"]))
    nodes.append(helper.make_node("Add", ["trunk", convolution("b", "inner", 8, 300)], ["sum"]))
    nodes.append(helper.make_node("Clip", ["sum", "none", "most"], ["held"]))
    nodes.append(helper.make_node("MaxPool", ["held"], ["pooled"], kernel_shape=[2, 2]))
    nodes.append(helper.make_node("Tanh", [convolution("c", "pooled", 8, 200)], ["any"]))
    nodes.append(helper.make_node("GlobalAveragePool", [convolution("d", "any", 4, 1)], ["mean"]))
    ports = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIDE, SIDE, 3]),
        helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 4, 1, 1]),
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def tiles():
    return np.random.default_rng(5).integers(0, 256, (16, SIDE, SIDE, 3)).astype(np.uint8)


def by_onnxruntime(model, tiles):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options)
    return session.run(None, {"image": tiles})[0]


def by_openvino(model, tiles):
    core = openvino.Core()
    read = core.read_model(model, b"")
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return next(iter(compiled({"image": tiles}).values())).copy()


def test_only_what_is_never_negative_becomes_unsigned(residual):
    model = onnx.load_from_string(unsigned(residual))
    onnx.checker.check_model(model, full_check=True)
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    steps = {
        n.input[0]: (stored[n.input[1]], stored[n.input[2]])
        for n in model.graph.node
        if n.op_type == "QuantizeLinear"
    }
    reach = {"pixels": 128, "trunk": 300, "inner": 300, "pooled": 200, "any": 1}
    assert steps.keys() == reach.keys()
    for name, (scale, zero) in steps.items():
        signed = name in {"pixels", "any"}
        assert zero.dtype == (np.int8 if signed else np.uint8)
        assert zero == 0
        assert scale == pytest.approx(reach[name] / (127 if signed else 255))
    assert not {"trunk_scale", "trunk_zero"} & stored.keys()
    made = {n.output[0]: n for n in model.graph.node}
    for name in reach:
        assert list(made[f"{name}_dq"].input)[1:] == list(made[f"{name}_q"].input)[1:]


def test_openvino_computes_what_the_unsigned_file_says_and_it_rounds_less(residual, tiles):
    file = unsigned(residual)
    expected = by_onnxruntime(file, tiles)
    np.testing.assert_allclose(by_openvino(file, tiles), expected, rtol=0, atol=2e-3)
    exact = by_onnxruntime(derived(residual, "fp32"), tiles)
    lost = [np.abs(by_onnxruntime(model, tiles) - exact).mean() for model in (residual, file)]
    assert lost[1] < 0.75 * lost[0]


def test_a_file_that_rounds_nothing_is_given_back(residual):
    fp32 = derived(residual, "fp32")
    assert unsigned(fp32) is fp32


@pytest.mark.parametrize(
    "steps",
    [(), (np.uint8(0),), (np.int8(3),)],
    ids=["no zero-point", "unsigned already", "not around 0"],
)
def test_quantisers_of_another_kind_are_left_alone(steps):
    given = [numpy_helper.from_array(np.asarray(v), n) for v, n in zip(steps, "z", strict=False)]
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "s")
    names = ["s", *(tensor.name for tensor in given)]
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", *names], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *names], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [scale, *given])
    file = helper.make_model(graph).SerializeToString()
    assert unsigned(file) is file


def test_a_file_that_is_none_is_refused():
    with pytest.raises(ValueError, match="is it an ONNX file"):
        unsigned(b"")
