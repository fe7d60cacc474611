"""A recogniser from an ONNX file as a torch module, so that gradients flow through it.

Only what a loss on a teacher's vectors needs: the operators that convolutional and attention
recognisers use, in opset 13 to 17, frozen weights, any batch size. (onnx2torch does more, but
needs torchvision, whose wheels bring a CUDA build of torch.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.errors import BadModel, MissingWeights

__all__ = ["OnnxNetwork"]

Attributes = Mapping[str, Any]


class OnnxNetwork(nn.Module):
    """The graph of an ONNX file with one input and one output: (N, 3, H, W) -> (N, D).

    Raises MissingWeights, or BadModel naming an operator that is not known here.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        graph = _read_graph(Path(path))
        from onnx import numpy_helper

        self._buffers_of: dict[str, str] = {}
        for number, weight in enumerate(graph.initializer):
            self._buffers_of[weight.name] = f"w{number}"
            value = torch.from_numpy(numpy_helper.to_array(weight).copy())
            self.register_buffer(f"w{number}", value)
        self.inputs = [i.name for i in graph.input if i.name not in self._buffers_of]
        self.outputs = [o.name for o in graph.output]
        self.steps = [_step(node) for node in graph.node]

    def forward(self, pixels: Tensor) -> Tensor:
        """The output (N, D) of pixels (N, 3, H, W) in the range the file takes."""
        values: dict[str, Any] = {"": None, self.inputs[0]: pixels}
        values |= {name: getattr(self, own) for name, own in self._buffers_of.items()}
        for run, attributes, takes, gives in self.steps:
            result = run(attributes, *(values[name] for name in takes))
            made = result if isinstance(result, (tuple, list)) else (result,)
            values.update(zip(gives, made, strict=False))
        output: Tensor = values[self.outputs[0]]
        return output


def _read_graph(path: Path) -> Any:
    try:
        import onnx
    except ImportError as problem:
        hint = "pip install 'facestudio[train]'"
        raise MissingWeights("the package onnx is missing", hint=hint) from problem
    if not path.is_file():
        raise MissingWeights(f"{path} is missing", file=path, hint="give the path of an .onnx file")
    try:
        return onnx.load(str(path)).graph
    except Exception as problem:  # protobuf's errors share no base class with onnx's own
        raise BadModel(f"{path} is no usable ONNX file: {problem}", file=path) from problem


def _step(node: Any) -> tuple[Callable[..., Any], Attributes, list[str], list[str]]:
    from onnx import helper, numpy_helper

    if node.op_type not in OPERATORS:
        raise BadModel(f"the ONNX operator {node.op_type} is not known here")
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Constant":
        attributes = {"value": torch.from_numpy(numpy_helper.to_array(attributes["value"]).copy())}
    return OPERATORS[node.op_type], attributes, list(node.input), list(node.output)


def _ints(values: Any) -> list[int]:
    return [int(v) for v in (values.tolist() if isinstance(values, Tensor) else values)]


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    strides, dilations = a.get("strides", [1, 1]), a.get("dilations", [1, 1])
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(x, weight, bias, strides, (top, left), dilations, a.get("group", 1))


def _slice(
    _: Attributes, x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None
) -> Tensor:
    begin, stop = _ints(starts), _ints(ends)
    over = range(len(begin)) if axes is None else _ints(axes)
    strides = [1] * len(begin) if steps is None else _ints(steps)
    for first, last, axis, stride in zip(begin, stop, over, strides, strict=True):
        places = range(x.shape[axis])[first:last:stride]
        x = x.index_select(axis, torch.tensor(places, device=x.device))
    return x


def _reshape(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(_ints(shape))]
    return x.reshape(wanted)


def _unsqueeze(_: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(a % rank for a in _ints(axes)):
        x = x.unsqueeze(axis)
    return x


def _squeeze(_: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    return x.squeeze(tuple(_ints(axes)))


def _gather(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    indices = indices % x.shape[axis]
    picked = x.index_select(axis, indices.reshape(-1))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _split(a: Attributes, x: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
    return x.split(_ints(sizes), a.get("axis", 0))


def _layer_norm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.layer_norm(x, x.shape[a.get("axis", -1) :], weight, bias, a.get("epsilon", 1e-5))


def _gemm(a: Attributes, x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    x, y = x.T if a.get("transA") else x, y.T if a.get("transB") else y
    product = a.get("alpha", 1.0) * (x @ y)
    return product if z is None else product + a.get("beta", 1.0) * z


def _batch_norm(
    a: Attributes, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    return F.batch_norm(x, mean, variance, weight, bias, eps=a.get("epsilon", 1e-5))


def _divide(_: Attributes, x: Tensor, y: Tensor) -> Tensor:
    whole = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc" if whole else None)


def _cast(a: Attributes, x: Tensor) -> Tensor:
    from onnx import helper

    name = np.dtype(helper.tensor_dtype_to_np_dtype(a["to"])).name
    return x.to(getattr(torch, name))


def _filled(a: Attributes, shape: Tensor) -> Tensor:
    from onnx import numpy_helper

    value = torch.from_numpy(numpy_helper.to_array(a["value"]).copy())
    return value.expand(_ints(shape)).clone()


def _norm(a: Attributes, x: Tensor) -> Tensor:
    return x.norm(dim=a["axes"], keepdim=bool(a.get("keepdims", 1)))


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": lambda _, x, y: x + y,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": lambda _, x, low=None, high=None: torch.clamp(x, low, high),
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Constant": lambda a: a["value"],
    "ConstantOfShape": _filled,
    "Conv": _conv,
    "Cos": lambda _, x: torch.cos(x),
    "CumSum": lambda _, x, axis: torch.cumsum(x, int(axis)),
    "Div": _divide,
    "Erf": lambda _, x: torch.erf(x),
    "Expand": lambda _, x, shape: x * torch.ones(_ints(shape), dtype=x.dtype, device=x.device),
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdim=True),
    "LayerNormalization": _layer_norm,
    "MatMul": lambda _, x, y: x @ y,
    "Mul": lambda _, x, y: x * y,
    "Not": lambda _, x: ~x,
    "PRelu": lambda _, x, slope: torch.where(x > 0, x, slope * x),
    "ReduceL2": _norm,
    "Relu": lambda _, x: torch.relu(x),
    "Reshape": _reshape,
    "Shape": lambda _, x: torch.tensor(x.shape),
    "Sin": lambda _, x: torch.sin(x),
    "Slice": _slice,
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": lambda _, x, y: x - y,
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}
