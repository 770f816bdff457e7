"""Names of the execution providers: light, so that a command can offer them without loading ONNX Runtime."""

from enum import StrEnum


class Provider(StrEnum):
    """Where a model runs; the values of `--provider`. Which of them there are depends on the ONNX Runtime wheel."""

    AUTO = "auto"
    """The fastest that works on this machine."""
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    COREML = "coreml"
    DIRECTML = "directml"
    MIGRAPHX = "migraphx"
    QNN = "qnn"
    XNNPACK = "xnnpack"
    WEBGPU = "webgpu"

    @property
    def onnx_name(self) -> str:
        """ONNX Runtime's name for it, such as `CUDAExecutionProvider`."""
        if self is Provider.AUTO:
            raise ValueError("'auto' is no provider, but the wish for the best one")
        return f"{_SPELLED[self]}ExecutionProvider"


_SPELLED = {
    Provider.CPU: "CPU", Provider.CUDA: "CUDA", Provider.TENSORRT: "Tensorrt", Provider.OPENVINO: "OpenVINO",
    Provider.COREML: "CoreML", Provider.DIRECTML: "Dml", Provider.MIGRAPHX: "MIGraphX", Provider.QNN: "QNN",
    Provider.XNNPACK: "Xnnpack", Provider.WEBGPU: "WebGpu",
}  # fmt: skip

BEST_FIRST = (Provider.CUDA, Provider.MIGRAPHX, Provider.DIRECTML, Provider.OPENVINO, Provider.CPU)
"""What `auto` tries; OpenVINO on CPUs with AMX only. Not TensorRT, which builds an engine for minutes first; nor
CoreML, which may compute in float16 where float32 is asked for, and was never measured here; nor those for special
chips."""

ON_CORES = frozenset({Provider.CPU.onnx_name, Provider.OPENVINO.onnx_name})
"""ONNX Runtime's names of those that compute on the CPU's cores: there inferences may run at the same time."""
