"""Names of the execution providers: light, so that a command can offer them without loading ONNX Runtime."""

from enum import StrEnum


class Provider(StrEnum):
    """Where a model runs; the values of `--provider`."""

    AUTO = "auto"
    """CUDA where it really works, else the CPU."""
    CPU = "cpu"
    CUDA = "cuda"

    @property
    def onnx_name(self) -> str:
        """ONNX Runtime's name for it, such as `CUDAExecutionProvider`."""
        return {Provider.CUDA: "CUDAExecutionProvider"}.get(self, "CPUExecutionProvider")
