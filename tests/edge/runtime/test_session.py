import os
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from catsdogs_edge.errors import ProviderError
from catsdogs_edge.runtime.cpu import allowed_cpus, usable_cpus
from catsdogs_edge.runtime.providers import BEST_FIRST, Provider
from catsdogs_edge.runtime.session import _check_placement, _Model, _provider_options, open_session, placement


def test_every_provider_is_one_of_onnx_runtimes() -> None:
    for provider in Provider:
        if provider is not Provider.AUTO:
            assert provider.onnx_name in ort.get_all_providers()
    assert BEST_FIRST[-1] is Provider.CPU


@pytest.mark.parametrize("provider", [item for item in Provider if item not in {Provider.AUTO, Provider.CPU}])
def test_a_named_provider_that_is_not_there_is_an_error(provider: Provider, tiny: Path) -> None:
    if provider.onnx_name in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has it")
    with pytest.raises(ProviderError, match=f"{provider.onnx_name} is missing: onnxruntime .* has .*CPUExecution"):
        open_session(tiny, provider)


def test_the_best_that_works_is_the_cpu_where_there_is_nothing_else(tiny: Path) -> None:
    if ort.get_available_providers()[-1:] != ["CPUExecutionProvider"]:
        pytest.skip("this ONNX Runtime has more")
    assert open_session(tiny, Provider.AUTO).get_providers()[0] == "CPUExecutionProvider"


def test_onnx_runtime_never_falls_back(tiny: Path) -> None:
    assert not open_session(tiny, Provider.CPU)._enable_fallback


def test_every_operator_is_counted_where_it_was_placed(tiny: Path) -> None:
    placed = placement(open_session(tiny, Provider.CPU))
    assert placed == {"CPUExecutionProvider": {"Cast": 1, "ReduceMean": 1, "MatMul": 1, "Softmax": 1}}


def test_a_provider_that_hands_the_work_back_is_refused(tiny: Path) -> None:
    """A session on the CPU stands for one whose provider took nothing."""
    with pytest.raises(ProviderError, match="hands 1 of its 1 convolutions and matrix products back to the CPU"):
        _check_placement(open_session(tiny, Provider.CPU), "XnnpackExecutionProvider")


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_limit_is_kept(files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    if (os.cpu_count() or 1) < 2 or allowed_cpus(tmp_path) is not None:
        pytest.skip("needs two CPUs and no other limit")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert allowed_cpus(tmp_path) == limit
    assert usable_cpus(tmp_path) == (limit or os.cpu_count())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_affinity_is_kept() -> None:
    code = "from catsdogs_edge.runtime.cpu import usable_cpus; print(usable_cpus())"
    code = f"import os; os.sched_setaffinity(0, {{0}}); {code}"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize(("spinning", "setting"), [(True, "1"), (False, "0")])
def test_idle_threads_spin_only_where_asked(spinning: bool, setting: str, tiny: Path) -> None:
    options = open_session(tiny, Provider.CPU, threads=1, spinning=spinning).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == setting
    assert options.intra_op_num_threads == 1


def test_a_gpu_does_not_time_algorithms(tiny: Path) -> None:
    """Read, not run: no GPU is where tests run."""
    exact, half = (_provider_options(Provider.CUDA, 0, _Model(tiny, str(tiny), half)) for half in (False, True))
    assert exact == {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    assert half == {**exact, "prefer_nhwc": "1"}


def test_tensorrt_keeps_what_it_compiled_for_each_model(
    tiny: Path, familiar: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    models = [_Model(tiny, content, half=True) for content in (str(tiny), tiny.read_bytes(), str(familiar))]
    first, same, other = (_provider_options(Provider.TENSORRT, 0, model) for model in models)
    assert first["trt_engine_cache_enable"] == first["trt_fp16_enable"] == "1"
    assert Path(first["trt_engine_cache_path"]).is_dir()
    assert first == same != other
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made in it
    assert _provider_options(Provider.TENSORRT, 0, models[0]) == {"trt_fp16_enable": "1"}
