"""A model that is worse than the one before is not published, whichever images it is worse on."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_export.cli import _export_app
from catsdogs_export.export import export
from catsdogs_export.gate import WorseError
from catsdogs_export.options import ExportOptions
from catsdogs_export.run_folder import RunFolder
from tests.conftest import Call


@pytest.fixture(scope="module")
def old(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("old") / "onnx"
    export(small_run, out, ExportOptions())
    return out / "model.onnx"


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, whose images come from two sources: the last four of each class from a camera."""
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    with (folder / "split.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for label in ("cat", "dog"):
        mine = [row for row in rows if (row["set"], row["label"]) == ("val", label)]
        for row in mine[-4:]:
            row["source"] = "camera"
    with (folder / "split.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["set", "label", "path", "sha256", "source"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def poison(run: Path) -> None:
    """Exchanges what the network says of the two classes."""
    network = RunFolder.load(run).load_network()
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([kernel[:, ::-1], bias[::-1]])
    network.save(run / "model.keras")


def test_one_that_is_as_good_is_published(run: Path, old: Path, tmp_path: Path) -> None:
    published = export(run, tmp_path / "out", ExportOptions(not_worse_than=old))
    (found,) = published.not_worse.values()
    assert [item.source for item in found] == ["validation images", "camera"]
    assert [item.images for item in found] == [40, 8]
    assert all((item.fixed, item.broken) == (0, 0) for item in found)
    report = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert [item["source"] for item in report["not_worse"]["fp32"]] == ["validation images", "camera"]


def test_one_that_is_worse_is_not_and_the_export_of_before_stays(run: Path, old: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out, ExportOptions(not_worse_than=old))
    before = (out / "model.onnx").read_bytes()
    poison(run)
    with pytest.raises(WorseError, match=rf"worse than {old} on validation images: \d+ of 40 right"):
        export(run, out, ExportOptions(not_worse_than=old))
    assert (out / "model.onnx").read_bytes() == before


def test_what_is_won_on_one_source_does_not_pay_for_another(run: Path, old: Path, tmp_path: Path) -> None:
    """The new model is right on what the labels of the camera's images say, and those are the wrong way round."""
    text = (run / "split.csv").read_text().splitlines()
    swapped = [
        line.replace("val,cat,", "val,?,").replace("val,dog,", "val,cat,").replace("val,?,", "val,dog,")
        if line.endswith(",camera")
        else line
        for line in text
    ]
    (run / "split.csv").write_text("\n".join(swapped) + "\n")
    poison(run)  # worse on all others, better on these
    with pytest.raises(WorseError) as refused:
        export(run, tmp_path / "out", ExportOptions(not_worse_than=old))
    verdict = {item.source: item.is_worse for item in refused.value.differences}
    assert verdict == {"validation images": True, "camera": False}


def test_the_command_says_where_it_is_worse(call: Call, run: Path, old: Path, tmp_path: Path) -> None:
    poison(run)
    done = call(_export_app, "catsdogs-export", run, "--out", tmp_path / "out", "--not-worse-than", old)
    assert done.returncode == 1
    assert "camera: " in done.stderr
    assert "Nothing is published" in done.stderr
    assert not (tmp_path / "out").exists()


def test_other_classes_cannot_be_compared(
    run: Path, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catsdogs_export.export.convert", None)  # it is said before that, which takes a minute
    for name in ("run.json", "split.csv"):
        text = (run / name).read_text()
        (run / name).write_text(text.replace('"dog"', '"fox"').replace(",dog,", ",fox,"))
    with pytest.raises(DataError, match="knows the classes cat, dog, the new model cat, fox"):
        export(run, tmp_path / "out", ExportOptions(not_worse_than=old))
    assert Classifier.load(old).contract.classes == ("cat", "dog")
