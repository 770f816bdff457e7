"""Opens a model on the execution provider that was asked for, or says why that cannot be.

ONNX Runtime falls back to the CPU with no more than a warning when a provider is missing or its
libraries do not load. Here a named provider is strict: the session is asked afterwards what it runs on.
"""

import contextlib
import io
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from catsdogs_edge.errors import ModelError, ProviderError
from catsdogs_edge.providers import Provider

_CUDA = Provider.CUDA.onnx_name

# TF32 rounds float32 to 11 bits, which is enough to fail a model's self-test; who wants speed takes fp16.
_OPTIONS = {Provider.CUDA: {"use_tf32": "0"}}

_WARNING, _FATAL = 2, 4  # ONNX Runtime's numbers for severities; it starts with warnings

_SESSION_ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


def open_session(path: Path, provider: Provider, *, threads: int = 0) -> ort.InferenceSession:
    """Opens an ONNX file.

    Args:
        path: The model file.
        provider: A named one is strict; `AUTO` takes CUDA if it really works, else the CPU.
        threads: Threads of one inference; 0 takes one for each physical core.

    Returns:
        A session that runs on the provider that `get_providers()[0]` names.

    Raises:
        ModelError: No such file, or not a valid ONNX file.
        ProviderError: The named provider does not run here.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    if provider is not Provider.CPU:
        try:
            return _open_cuda(path, threads)
        except ProviderError:
            if provider is Provider.CUDA:
                raise
    return _open(path, Provider.CPU, threads)


def _open_cuda(path: Path, threads: int) -> ort.InferenceSession:
    if _CUDA not in ort.get_available_providers():
        raise ProviderError(
            f"{_CUDA} is missing: {_installed_wheels()} has {', '.join(ort.get_available_providers())}; "
            "in a fresh environment, install 'catsdogs[edge-cuda]' instead of 'catsdogs[edge]'",
        )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):  # it prints what it does not find
        ort.preload_dlls()
    missing = re.findall(r"Failed to load (\S+):", printed.getvalue())
    ort.set_default_logger_severity(_FATAL)  # the error below says the same in one line
    try:
        session = _open(path, Provider.CUDA, threads)
    except ModelError as error:
        _open(path, Provider.CPU, threads)  # a file that is broken everywhere is reported as that
        raise ProviderError(f"{_CUDA} does not open {path}: {error}") from error
    finally:
        ort.set_default_logger_severity(_WARNING)
    if session.get_providers()[0] != _CUDA:
        found = f"{', '.join(missing)} cannot be loaded" if missing else "no NVIDIA driver or GPU that it can use"
        raise ProviderError(
            f"{_CUDA} of {_installed_wheels()} does not work here: {found}; it needs an NVIDIA driver (see "
            "nvidia-smi), CUDA 13 and cuDNN 9 (pip install 'onnxruntime-gpu[cuda,cudnn]' brings both)",
        )
    return session


def _open(path: Path, provider: Provider, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL  # errors arrive as exceptions; ONNX Runtime would also print them
    try:
        return ort.InferenceSession(str(path), options, providers=[(provider.onnx_name, _OPTIONS.get(provider, {}))])
    except _SESSION_ERRORS as error:
        raise ModelError(f"{path} is not a model that ONNX Runtime {ort.__version__} opens: {error}") from error


def _installed_wheels() -> str:
    """Names the installed ONNX Runtime wheels; two of them overwrite each other's files."""
    found = []
    for wheel in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found.append(f"{wheel} {version(wheel)}")
        except PackageNotFoundError:
            continue
    return " and ".join(found) or "onnxruntime"
