"""Makes the model that comes with the package: a network, a smaller one of it, the figures of both, and a card.

The smaller one goes into the package if it is as good (`_is_as_good`), else the whole one.

    python scripts/release_model.py DATA WEIGHTS [--out build/release]

DATA holds `train/`, `more/` and `extra/` to learn from, `val/` to judge by (a folder for each class in each), `inbox/`,
more images of original size, and images that show neither in `other/` and in the folders of `other_imagenet/`, called
`sofa_image_0001.jpg` after what they show; those of the second are `animals`, `things` and `wild`. WEIGHTS are those of
`catsdogs-train`. It takes twelve hours on two cores, or minutes of a GPU (`KERAS_BACKEND=jax`) and half an hour of
those, and goes on where it was broken off; a run that is done, such as one from a GPU, is taken as it is. Nothing of
DATA gets into the package.

What the card (`model_card.md`) says of ids, sources, licences and a GPU is true of our DATA and WEIGHTS, and of how the
training was run with them; change it with them.
"""

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any

import numpy as np
import typer

from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.output.files import atomic_files
from catsdogs_train.run.checkpoint import Checkpoint
from catsdogs_train.run.earlier_run import has_ended

_HOUSE = Path(__file__).resolve().parents[1]
_RECIPE = "--train-size 13323 --seed 21"
"""Of both. On a GPU that compiles for each size of a batch, 13,323 and a tenth of them fill all batches."""

_FULL = (
    "--epochs 6 --views 1 --batch-size 64 --fine-tune-epochs 32 --fine-tune-size 192 --fine-tune-rate 6e-5 "
    "--unfreeze all"
)
_SMALL = "--faster 4.4 --image-size 192 --fine-tune-size 160 --fine-tune-epochs 30 --max-drop 1 --keep 0.97"

_MAY_LOSE_ACCURACY, _MAY_LOSE = 0.002, {"other": 0.01, "things": 0.01, "animals": 0.01}
"""Share of right labels by which the smaller one may be behind, and of refused images of neither, by folder."""

_VALIDATES, _SEEN = 320, 4000
"""Images of each class of `extra/` that validate; those with ids up to the second have taught WEIGHTS before."""

_OUTLIERS = ("other", *(f"other_imagenet/{name}" for name in ("animals", "things", "wild")))
_FOLDERS = ("train", "more", "extra", "val", "inbox", *_OUTLIERS)

_CARD = Path(__file__).with_name("model_card.md")
"""With places for the figures."""


def main(
    data: Annotated[Path, typer.Argument(help="Folder with train, more, extra, val, inbox, other and other_imagenet.")],
    weights: Annotated[str, typer.Argument(help="For catsdogs-train --weights.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("build/release"),
) -> None:
    """Writes the model and its card into the edge package."""
    if missing := [name for name in _FOLDERS if not (data / name).is_dir()]:
        raise SystemExit(f"{data} has no folder {missing[0]}: expected {', '.join(_FOLDERS)}")
    kinds = _divide_outliers(data, out)
    _hold_back(data / "extra", out)
    learned = [data / "train", data / "more", out / "extra" / "train"]
    words: list[str | Path] = ["catsdogs-train", *learned, "--val", out / "extra" / "val", "--other", out / "learned"]
    words += _RECIPE.split()
    commands = {
        "full": [*words, "--weights", weights, *_FULL.split(), "--out", out / "full"],
        "small": [*words, "--teacher", out / "full", *_SMALL.split(), "--out", out / "small"],
    }
    for name, command in commands.items():
        _train(command, out / name)
    described = json.loads((out / "small" / "run.json").read_text())
    teacher = hashlib.sha256((out / "full" / "model.keras").read_bytes()).hexdigest()
    if described["fingerprint"]["--teacher"] != teacher:
        raise SystemExit(f"{out / 'small'} learned from another teacher than {out / 'full'}: remove it")
    measured = {name: _measure(out / name, data, out) for name in commands}
    packaged, other = ("small", "full") if _is_as_good(measured["small"], measured["full"]) else ("full", "small")
    file = out / packaged / "onnx" / "model.int8.onnx"
    shown = "\n".join("    " + " ".join(map(str, command)) for command in commands.values())
    card = _CARD.read_text().format(
        this=measured[packaged],
        other=measured[other],
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        images=described["pictures"]["train"],
        validates=described["pictures"]["val"],
        outliers=described["familiarity"]["others"],
        kinds=kinds,
        recipes=shown.replace(weights, "WEIGHTS").replace(f"{data}/", "").replace(f"{out}/", ""),
    )
    with atomic_files(_HOUSE / "edge" / "catsdogs_edge" / "model" / "weights") as folder:
        shutil.copy(file, folder / MODEL.name)
        (folder / "MODEL_CARD.md").write_text(card)


def _is_as_good(small: dict[str, Any], full: dict[str, Any]) -> bool:
    """Returns whether the smaller network lost no more than it may."""

    def lost(name: str) -> float:
        before, after = (np.divide(*measured["refused"][name]) for measured in (full, small))
        return float(before - after)

    accuracy = full["accuracy"] - small["accuracy"]
    return accuracy <= _MAY_LOSE_ACCURACY and all(lost(name) <= most for name, most in _MAY_LOSE.items())


def _train(command: Sequence[str | Path], run: Path) -> None:
    """Trains, unless the run is done, here or on a GPU; goes on with one that was broken off."""
    if not Checkpoint(run).exists and has_ended(run):
        typer.echo(f"{run} is done, and taken as it is", err=True)
    else:
        _call(*command, *(["--resume"] if run.exists() else []))


def _measure(run: Path, data: Path, out: Path) -> dict[str, Any]:
    """Exports a run to INT8, and measures the file."""
    _call("catsdogs-export", run, "--int8", "--target", "x86")
    model = run / "onnx" / "model.int8.onnx"
    described = json.loads((run / "run.json").read_text())
    chosen = json.loads((run / "onnx" / "parity.json").read_text())["int8"]["chosen"]
    evaluated = _call("catsdogs-eval", data / "val", "--model", model, "--other", out / "judged" / "other", "--json")
    return {
        **json.loads(evaluated),
        "megabytes": model.stat().st_size / 1e6,
        "calibration": chosen["setting"]["calibration"],
        "is": _describe(described),
        "refused": {folder.name: _count(model, folder) for folder in sorted((out / "judged").iterdir())},
        "originals": {name: _count(model, data / name) for name in ("train", "inbox")},
    }


def _describe(run: dict[str, Any]) -> str:
    """Says which network a run has."""
    if run["teacher"]:
        speedup = run["teacher"]["speedup"]
        return f"a ResNet50 made {speedup:.1f} times lighter (by the estimate), at {run['image_size']} pixels"
    return f"a whole ResNet50 at {run['image_size']} pixels"


def _divide_outliers(data: Path, out: Path) -> int:
    """Links the images of every other kind into `learned/FOLDER/KIND`, those of the others into `judged`.

    Returns how many kinds teach.
    """
    for part in ("learned", "judged"):
        shutil.rmtree(out / part, ignore_errors=True)
    count = 0
    for folder in (data / name for name in _OUTLIERS):
        kind_of = {path: re.sub(r"_image_\d+$", "", path.stem) for path in find_images([folder])}
        kinds = sorted(set(kind_of.values()))
        for path, kind in kind_of.items():
            _link(path, out / ("judged" if kinds.index(kind) % 2 else "learned") / folder.name / kind)
        count += len(kinds[::2])
    return count


def _hold_back(folder: Path, out: Path) -> None:
    """Links a part of the labelled images into `extra/val`, and the others into `extra/train`."""
    shutil.rmtree(out / "extra", ignore_errors=True)
    for kind in sorted(folder.iterdir()):
        numbers = {path: int(re.findall(r"\d+", path.name)[0]) for path in find_images([kind])}
        images = sorted(numbers, key=lambda path: numbers[path])
        unseen = [path for path in images if numbers[path] > _SEEN]
        held_back = set(Random(5).sample(unseen, _VALIDATES))  # noqa: S311 - a draw, no secret
        for path in images:
            _link(path, out / "extra" / ("val" if path in held_back else "train") / kind.name)


def _link(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).symlink_to(path.resolve())


def _count(model: Path, folder: Path) -> tuple[int, int]:
    """Returns how many images of a folder are `neither`, and how many there are."""
    rows = _call("catsdogs-classify", folder, "--model", model, "--csv", "-").splitlines()
    labels = [row["label"] for row in csv.DictReader(rows)]
    return labels.count("neither"), len(labels)


def _call(*words: str | Path) -> str:
    """Runs a command of ours and returns what it prints."""
    script = Path(sys.executable).with_name(str(words[0]))
    done = subprocess.run([script, *words[1:]], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    typer.run(main)
