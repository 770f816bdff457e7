"""Quantizes an ONNX file to INT8: static, QDQ, int8 weights for each channel.

Activations are uint8 on x86, because ONNX Runtime's defaults (int8) leave 20 convolutions and every addition of a
ResNet50 in float there: its int8-to-uint8 rewrite gives up where a tensor has two readers, as every residual does
(onnxruntime/core/optimizer/qdq_transformer/qdq_s8_to_u8.cc).
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import onnx
import onnx_ir as ir
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    create_activation_matching,
    modify_model_output_intermediate_tensors,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from catsdogs_edge.images.decode import RgbBatch, load_batch
from catsdogs_edge.model.contract import Contract
from catsdogs_export.float_nodes import kept_in_float
from catsdogs_export.graph_rewrites import widen_first_convolution
from catsdogs_export.options import Target

_PART = 4  # images whose activations are in memory together: 90 MB each for ResNet50 at 224 pixels


class Calibration(StrEnum):
    """How the ranges of the activations follow from what was seen."""

    MINMAX = "minmax"
    """Smallest to largest value."""
    PERCENTILE = "percentile"
    """The values but for 0.01 % at either end."""
    ENTROPY = "entropy"
    """The range that loses the least information (Migacz, "8-bit inference with TensorRT", 2017)."""


# Symmetric by default, which would waste half of the range behind a ReLU
_PERCENTILE = {"CalibPercentile": 99.99, "CalibTensorRangeSymmetric": False}
_METHODS = {
    Calibration.MINMAX: (CalibrationMethod.MinMax, {}),
    Calibration.PERCENTILE: (CalibrationMethod.Percentile, _PERCENTILE),
    Calibration.ENTROPY: (CalibrationMethod.Entropy, {}),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to quantize."""

    calibration: Calibration
    target: Target
    """The CPU that the types are for."""
    float_layers: tuple[str, ...] = ()
    """Nodes left in float, besides those that always are."""

    def describe(self) -> str:
        """Describes it in a few words."""
        words = f"{self.calibration.value}, {self.target.value}"
        if not self.float_layers:
            return words
        return f"{words}, {len(self.float_layers)} layer{'s' if len(self.float_layers) > 1 else ''} in float"


class Quantizer:
    """Quantizes one FP32 file in several ways, calibrating once for each method.

    Batch normalization is folded first, and the first convolution widened. The files are for trying; they carry no
    contract.
    """

    def __init__(self, fp32: Path, folder: Path, contract: Contract, images: Sequence[Path]) -> None:
        """Folds an fp32 file; `folder` is for what comes in between, `images` are training images to calibrate on."""
        self._folder = folder
        self._contract = contract
        self._images = images
        self._folded = folder / "folded.onnx"
        # Symbolic shape inference is for transformers, and would need another package.
        quant_pre_process(str(fp32), str(self._folded), skip_symbolic_shape=True)
        model = ir.load(self._folded)
        widen_first_convolution(model)
        ir.save(model, self._folded)
        self._kept = kept_in_float(onnx.load(self._folded).graph.node, contract)

    def quantize(self, setting: Setting, path: Path) -> None:
        """Writes an INT8 file."""
        method, options = _METHODS[setting.calibration]
        arm = setting.target is Target.ARM64
        reader = _Reader(self._images, self._contract)
        if method is not CalibrationMethod.MinMax:  # the others keep all activations: fed in parts
            part = next(part for part in range(_PART, 0, -1) if len(reader) % part == 0)  # it insists on full ones
            options = {**options, "CalibStridedMinMax": part}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            quantize_static(
                str(self._folded),
                str(path),
                reader,
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8 if arm else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=setting.target is Target.X86,
                nodes_to_exclude=[*self._kept, *setting.float_layers],
                calibrate_method=method,
                calibration_cache_path=self._folder / f"{setting.calibration.value}.json",
                extra_options=options,
            )

    def rank_layers(self, quantized: Path) -> list[str]:
        """Returns the names of the convolutions, first the one whose output quantization disturbs most.

        By signal-to-noise ratio against the float model on a few images (`qdq_loss_debug`).
        """
        outputs = {}
        for name, path in (("float", self._folded), ("int8", quantized)):
            watched = self._folder / f"watched-{name}.onnx"
            modify_model_output_intermediate_tensors(str(path), str(watched))
            reader = _Reader(self._images[:_PART], self._contract)
            outputs[name] = collect_activations(str(watched), reader)
        errors = compute_activation_error(create_activation_matching(outputs["int8"], outputs["float"]))
        nodes = onnx.load(self._folded).graph.node
        # A ReLU is part of its convolution when quantized: only its output is there to compare.
        after_relu = {node.input[0]: node.output[0] for node in nodes if node.op_type == "Relu"}
        decibels = {}  # signal-to-noise ratio of each output: the lowest is disturbed most
        for node in nodes:
            if node.op_type == "Conv":
                error = errors.get(node.output[0]) or errors.get(after_relu.get(node.output[0], ""))
                if error is not None:
                    decibels[node.name] = float(error["xmodel_err"])  # a ratio, in spite of its name
        return sorted(decibels, key=lambda name: decibels[name])


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Yields one image at a time, from a range that the calibrator may set."""

    def __init__(self, images: Sequence[Path], contract: Contract) -> None:
        self._images = images
        self._contract = contract
        self.set_range(0, len(images))

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._remaining = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, RgbBatch] | None:
        path = next(self._remaining, None)
        if path is None:
            return None
        return {self._contract.input_name: load_batch([path], self._contract.image_size)}
