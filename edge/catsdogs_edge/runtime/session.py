"""Opens a model on the execution provider that was asked for, or says why that cannot be.

ONNX Runtime falls back to the CPU with no more than a warning when a provider is missing or its libraries do not load.
Here a named provider is strict: afterwards the session is asked what it runs on, and each layer where it was placed.
"""

import contextlib
import hashlib
import io
import logging
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from catsdogs_edge.errors import ModelError, ProviderError
from catsdogs_edge.runtime.cpu import Cpu, allowed_cpus, usable_cpus
from catsdogs_edge.runtime.diagnosis import why_missing, why_not_cuda
from catsdogs_edge.runtime.providers import BEST_FIRST, Provider

_log = logging.getLogger(__name__)

_ON_CUDA = (Provider.CUDA, Provider.TENSORRT)

_HEAVY = re.compile(r"Conv|Gemm|MatMul")  # small operators may stay on the CPU: ONNX Runtime puts some there on purpose
_WARNING, _FATAL = 2, 4  # ONNX Runtime's numbers for severities; it starts with warnings

RUN_ERRORS = (
    ort_errors.EngineError,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    getattr(ort_errors, "DeviceReset", ort_errors.EPFail),  # ONNX Runtime 1.24 has none
)
"""What ONNX Runtime raises when a machine cannot run what a model asks for; none derives from another."""

_SESSION_ERRORS = (
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    *RUN_ERRORS,
)


def open_session(
    path: Path,
    provider: Provider,
    *,
    threads: int = 0,
    spinning: bool = True,
    half: bool = False,
    content: bytes | None = None,
) -> ort.InferenceSession:
    """Opens an ONNX file.

    Args:
        path: The model file.
        provider: A named one is strict; `AUTO` takes the best that really works.
        threads: Threads of one inference; 0 takes one for each physical core, or what a container's limit allows.
        spinning: Idle threads wait for the next inference at full speed: faster where one follows the other at once,
            a waste of the CPU where a camera sets the pace.
        half: The model computes in float16, for which GPUs have kernels of their own.
        content: The model, where it is another than the file's; `path` is for messages, then.

    Returns:
        A session that runs on the provider that `get_providers()[0]` names.

    Raises:
        ModelError: No such file, or not a valid ONNX file.
        ProviderError: The named provider does not run here.
    """
    if not os.path.isfile(path):
        raise ModelError(f"{path}: no such model file")
    options = _options(threads, spinning=spinning)
    model = _Model(path, str(path) if content is None else content, half)
    if provider is not Provider.AUTO:
        return _open_strictly(model, provider, options)
    for candidate in BEST_FIRST[:-1]:
        if candidate.onnx_name in ort.get_available_providers():
            if candidate is Provider.OPENVINO and not Cpu.detect().has_amx:
                continue  # without, it gains little or is slower, and starts later
            with contextlib.suppress(ProviderError):  # the next one, then; what runs in the end is said
                return _open_strictly(model, candidate, options)
    return _open_strictly(model, BEST_FIRST[-1], options)


def placement(session: ort.InferenceSession) -> dict[str, Counter[str]]:
    """Counts the operators of a session's graph on each provider."""
    placed: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        placed.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return placed


@dataclass(frozen=True, slots=True)
class _Model:
    path: Path
    """For messages."""
    opened: str | bytes
    """What ONNX Runtime opens: the name of a file, or its content."""
    half: bool
    """Whether it computes in float16."""


def _open_strictly(model: _Model, provider: Provider, options: ort.SessionOptions) -> ort.InferenceSession:
    if provider is Provider.CPU:
        return _open(model, provider, options)
    name = provider.onnx_name
    if name not in ort.get_available_providers():
        raise ProviderError(why_missing(provider))
    missing = _preload() if provider in _ON_CUDA else []
    ort.set_default_logger_severity(_FATAL)  # the errors below say the same in one line
    try:
        session = _open(model, provider, options)
    except ModelError as error:
        _open(model, Provider.CPU, options)  # a file that is broken everywhere is reported as that
        raise ProviderError(f"{name} does not open {model.path}: {error}") from error
    except (RuntimeError, ValueError) as error:  # of ONNX Runtime's Python part, which has no exceptions of its own
        reason = why_not_cuda(missing, str(error)) if provider in _ON_CUDA else " ".join(str(error).split())
        raise ProviderError(f"{name} does not work here: {reason}") from error
    finally:
        ort.set_default_logger_severity(_WARNING)
    if session.get_providers()[0] != name:
        reason = why_not_cuda(missing) if provider in _ON_CUDA else "ONNX Runtime could not load it"
        raise ProviderError(f"{name} does not work here: {reason}")
    _check_placement(session, name)
    return session


def _check_placement(session: ort.InferenceSession, name: str) -> None:
    placed = placement(session)
    heavy = {where: sum(n for op, n in ops.items() if _HEAVY.search(op)) for where, ops in placed.items()}
    elsewhere = sum(heavy.values()) - heavy.get(name, 0)
    if elsewhere or not placed.get(name):
        raise ProviderError(
            f"{name} opens the model, but hands {elsewhere} of its {sum(heavy.values())} convolutions and matrix "
            "products back to the CPU: take another precision of the model, or --provider cpu"
        )


def _preload() -> list[str]:
    """Loads CUDA and cuDNN from pip's packages where they are; returns the names of those that do not load."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):  # it prints what it does not find
        ort.preload_dlls()
    return re.findall(r"Failed to load (\S+):", printed.getvalue())


def _options(threads: int, *, spinning: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or allowed_cpus() or 0
    options.log_severity_level = _FATAL  # errors arrive as exceptions; ONNX Runtime would also print them
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _engine_cache(model: str | bytes) -> dict[str, str]:
    """Returns options that keep what TensorRT compiles for minutes, in a folder of the user's cache for each model.

    For each, because ONNX Runtime takes a graph of the same names for the same engine, whatever its weights are.
    """
    content = Path(model).read_bytes() if isinstance(model, str) else model
    try:
        import platformdirs  # noqa: PLC0415 - of the extra edge-cuda

        cache = platformdirs.user_cache_path("catsdogs", appauthor=False)
        folder = cache / "tensorrt" / hashlib.sha256(content).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
    except (ImportError, OSError) as error:  # as for a service without a home
        _log.warning("TensorRT compiles the model anew at each start: it has no folder to keep it in (%s)", error)
        return {}
    return {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1", "trt_engine_cache_path": str(folder)}


def _provider_options(provider: Provider, threads: int, model: _Model) -> dict[str, str]:
    if provider is Provider.CUDA:
        # TF32 rounds float32 to 11 bits, which is enough to fail a model's self-test; who wants speed takes fp16. The
        # default, EXHAUSTIVE, times all algorithms of cuDNN for each layer and batch size, for seconds.
        options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        return options | ({"prefer_nhwc": "1"} if model.half else {})  # as the tensor cores want it
    if provider is Provider.TENSORRT:
        return {"trt_fp16_enable": str(int(model.half))} | _engine_cache(model.opened)
    if provider is Provider.OPENVINO and threads:  # it has threads of its own, and shares them between its streams
        streams = usable_cpus() if threads == 1 else 1
        return {"num_of_threads": str(streams * threads), "num_streams": str(streams)}
    return {}


def _open(model: _Model, provider: Provider, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        own = _provider_options(provider, options.intra_op_num_threads, model)
        # Without ONNX Runtime's fallback, which prints a banner and goes on with the CPU, at the start and in any run.
        chosen = [(provider.onnx_name, own)]
        return ort.InferenceSession(model.opened, options, providers=chosen, enable_fallback=False)
    except _SESSION_ERRORS as error:
        raise ModelError(f"{model.path} is not a model that ONNX Runtime {ort.__version__} opens: {error}") from error
