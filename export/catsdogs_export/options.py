"""What a user can ask an export for."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.errors import DataError
from catsdogs_edge.runtime.cpu import Cpu


class Target(StrEnum):
    """The kind of CPU that an INT8 file is for."""

    X86_VNNI = "x86-vnni"
    """The CPU adds up 8-bit products in 32 bits."""
    X86 = "x86"
    """The CPU adds them up in 16 bits, which can overflow: weights get 7 bits."""
    ARM64 = "arm64"
    """The CPU is fastest with int8 activations, too."""

    @classmethod
    def detect(cls) -> "Target":
        """Returns the kind that this machine is; x86 without VNNI, the careful choice, where that is not known."""
        cpu = Cpu.detect()
        if cpu.machine == "arm64":
            return cls.ARM64
        return cls.X86_VNNI if cpu.has_vnni else cls.X86

    def check_here(self) -> None:
        """Raises `DataError` where this CPU is known to compute otherwise: nothing could be proven of a file for it."""
        cpu = Cpu.detect()
        if self is not Target.X86 and cpu.machine == "x86_64" and cpu.features and not cpu.has_vnni:
            raise DataError(
                f"--target {self.value} on an x86 CPU without VNNI: sums of products overflow here, so what the export "
                "would measure, and record as the file's own test, is not what the other CPU answers. Export on a CPU "
                "with VNNI, or take --target x86, which is right everywhere"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of `catsdogs-export`, each declared once."""

    run: Annotated[Path | None, typer.Argument(help="Run folder that catsdogs-train wrote.")] = None
    out: Annotated[Path | None, typer.Option(help="Folder of its own to publish in; else RUN/onnx.")] = None
    int8: Annotated[bool, typer.Option("--int8", help="Also write model.int8.onnx, for CPUs.")] = False
    fp16: Annotated[bool, typer.Option("--fp16", help="Also write model.fp16.onnx, for CUDA.")] = False
    calibrate: Annotated[
        Path | None, typer.Option(help="With --int8: folder of images to calibrate on; else the run's training images.")
    ] = None
    max_drop: Annotated[
        float, typer.Option(min=0, help="Accuracy that INT8 and fp16 may lose, in percentage points.")
    ] = 0.3
    target: Annotated[
        Target | None, typer.Option(help="With --int8: the kind of CPU to quantize for; else this machine's.")
    ] = None
    not_worse_than: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Publish only if the new model is as good as this ONNX file, on each source of validation images.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Seed for choosing calibration images.")] = 0
    describe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Print the contract inside an ONNX file, and do nothing else.")
    ] = None
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare an ONNX file with the run of --against again.")
    ] = None
    against: Annotated[Path | None, typer.Option(metavar="RUN", help="With --check: its run folder.")] = None
