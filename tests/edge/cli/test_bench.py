import importlib.util
import json
import subprocess
from pathlib import Path

import cv2
import pytest
from msgspec.structs import replace

from catsdogs_edge.bench.measure import Bench, ModelFigures, changes, thread_counts
from catsdogs_edge.bench.report import compare_lines, show
from catsdogs_edge.bench.worker import DEVICE_SHARE, RATE
from catsdogs_edge.errors import DataError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Precision
from catsdogs_edge.runtime.cpu import usable_cpus
from tests.edge.conftest import GREY, encode, plain


def bench(scripts: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [scripts / "catsdogs-bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def measured(scripts: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two rounds of a tiny model print as JSON."""
    done = bench(scripts, tiny, "--count", "20", "--rounds", "2", "--json")
    assert done.returncode == 0, done.stderr
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    path.write_text(done.stdout)
    return path


def test_json_holds_a_value_for_each_round(measured: Path, tiny: Path) -> None:
    (model,) = json.loads(measured.read_text())["models"]
    assert model["model"] == str(tiny)
    assert model["operators"] == Classifier.load(tiny).placement()
    names = [f"{step} p{p}" for step in ("decode", "resize", "inference", "decision", "all") for p in (50, 95, 99)]
    names += [f"inference p50, {count} threads" for count in thread_counts(usable_cpus())]
    names += ["first answer s", "pictures a second"]
    assert set(names) == set(model["figures"]) - {"memory MB"}
    assert ("memory MB" in model["figures"]) == Path("/proc/self/status").is_file()
    assert all(len(values) == 2 and min(values) > 0 for values in model["figures"].values())


def test_figures_are_of_a_size_that_can_be(measured: Path) -> None:
    (model,) = Bench.from_json(measured).models
    assert model.median("nothing") is None
    assert 0.05 < (model.median("first answer s") or 0) < 30
    assert 20 < (model.median("memory MB") or 20.1) < 400
    longest = max(model.figures["inference p99"])
    assert max(model.figures["inference p50"]) <= longest <= max(model.figures["all p99"])


def test_tables_and_what_has_changed(scripts: Path, tiny: Path, measured: Path, tmp_path: Path) -> None:
    known = json.loads(measured.read_text())
    known["models"][0]["figures"]["memory MB"] = [1.0, 1.1]
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(known))
    done = bench(scripts, tiny, "--count", "20", "--rounds", "1", "--compare", earlier)
    assert done.returncode == 0, done.stderr
    assert "fp32 on CPUExecutionProvider" in done.stdout
    for word in ("inference", "threads", "images a second on all cores", "first answer"):
        assert word in done.stdout
    assert any(line.strip().startswith("memory MB: 1.05 -> ") for line in done.stdout.splitlines())


def figures(**values: list[float]) -> ModelFigures:
    return ModelFigures(
        model="model.onnx", precision=Precision.INT8, provider="CPUExecutionProvider", operators={}, figures=values
    )


def bench_of(*models: ModelFigures) -> Bench:
    return Bench(
        date="2026-11-24", machine="here", versions={}, source="drawings", images=100, rounds=5, models=[*models]
    )


def test_what_lies_among_the_earlier_values_is_noise() -> None:
    before = figures(a=[10, 11, 12], b=[10, 11, 12], c=[10, 11, 12], d=[1.0])
    now = figures(a=[11.9, 13, 14], b=[12.1, 13, 14], c=[8, 9, 9.9], e=[1.0])
    assert changes(now, before) == ["b: 11 -> 13 (x 1.18)", "c: 11 -> 9 (x 0.82)"]


def test_other_machines_and_models_are_said() -> None:
    now = bench_of(figures(a=[1.0]))
    assert compare_lines(now, now) == ["model.onnx, since 2026-11-24: no change beyond the noise"]
    there = replace(now, machine="there", source="holiday", rounds=1, models=[replace(figures(), model="other.onnx")])
    first, second, third, fourth = compare_lines(now, there)
    assert first == "other machine then: there, now here"
    assert second == "other images then: 100 of holiday, now 100 of drawings"
    assert third.startswith("with fewer than 3 rounds")
    assert "not in the earlier measurement" in fourth


def test_the_share_of_a_device_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    model = figures(**{RATE: [1500.0], "first answer s": [1.0]})
    show(bench_of(model))
    assert "1500.0 images a second on all cores\n" in capsys.readouterr().out
    show(bench_of(replace(model, figures={**model.figures, DEVICE_SHARE: [0.42]})))
    assert "1500.0 images a second on all cores, the device works 42% of the time" in capsys.readouterr().out


def test_models_of_one_name_are_told_apart_by_their_folders() -> None:
    one, two = (replace(figures(a=[value]), model=f"{value:.0f}/model.onnx") for value in (1.0, 2.0))
    both = bench_of(one, two)
    assert all(line.endswith("no change beyond the noise") for line in compare_lines(both, both))
    moved = replace(both, models=[replace(one, model="elsewhere/model.onnx")])
    assert len(compare_lines(replace(both, models=[one]), moved)) == 1
    assert "not in the earlier measurement" in compare_lines(both, moved)[0]


MODELS = (
    '{"schema": 1, "date": "", "machine": "", "versions": {}, "source": "", "pictures": 1, "rounds": 1, "models": '
    '[{"model": "", "precision": "int8", "provider": "", "operators": {}, "figures": %s}]}'
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 1}',
        *(MODELS % value for value in ('{"a": []}', '{"a": null}', '{"a": ["x"]}', "5")),
        '{"schema": 1, "models": [{"a": 1}]}',
        '{"schema": 2}',
        '{"schema": 1, "date": "\xe9"}',  # not in UTF-8, as some editors save it
    ],
)
def test_what_is_no_measurement_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(
        DataError, match="another version" if '"schema": 2' in text else "not what catsdogs-bench --json prints"
    ):
        Bench.from_json(path)


def test_powers_of_two_and_all_cores() -> None:
    assert [thread_counts(cores) for cores in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.onnx"], 1, "missing.onnx: no such model file"),
        (["--compare", "missing.json"], 1, "missing.json cannot be read: No such file"),
        (["--images", "missing"], 1, "missing: no such folder"),
        (["--pictures", "broken"], 1, "broken holds no image that can be read"),
        (["--count", "3"], 2, "not in the range"),
        (["--png", "broken"], 2, "broken is a folder"),
        (["--png", "/proc/x/bench.png"], 1, "/proc/x cannot be written"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], code: int, message: str, scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(encode(plain(GREY))[:40])
    command: list[str | Path] = [scripts / "catsdogs-bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_plot_needs_matplotlib_and_says_so_first(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    png = tmp_path / "bench.png"
    done = bench(scripts, tiny, "--count", "20", "--rounds", "1", "--png", png)
    if importlib.util.find_spec("matplotlib"):
        assert done.returncode == 0, done.stderr
        image = cv2.imread(str(png))
        assert image is not None
        assert image.std() > 10
    else:
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith("matplotlib is not installed: pip install 'catsdogs[bench]'")
        assert not png.exists()
