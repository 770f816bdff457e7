"""Makes the model that comes with the package: trains it, exports it, measures it, and writes its card.

    python scripts/release_model.py DATA WEIGHTS [--out build/release]

DATA holds `train/` and `more/` to learn from, `val/` to judge by (a folder for each class in each), and `other/`,
images that show neither, called `sofa_image_0001.jpg` after what they show. WEIGHTS are those of `catsdogs-train`. It
takes four hours on two cores, or minutes of a GPU (`KERAS_BACKEND=jax`) and half an hour of those, and goes on where it
was broken off. Nothing of DATA gets into the package.

What the card (`model_card.md`) says of ids, sources, licences and a GPU is true of our DATA and WEIGHTS, and of how the
first training was run with them; change it with them.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.output.files import atomic_files

_HOUSE = Path(__file__).resolve().parents[1]
_STEPS: Mapping[str, str] = {
    "first": "--val-size 2000 --image-size 256 --epochs 4 --views 1 --batch-size 64 --seed 4 "
    "--fine-tune-epochs 16 --fine-tune-size 192 --fine-tune-rate 5e-5 --unfreeze all",
    "second": "--epochs 3 --views 1",
}
"""Trainings, each from the network of the one before. The last one has a new output layer, for images of full size,
and learns what is neither."""

_CARD = Path(__file__).with_name("model_card.md")
"""With places for the figures."""


def main(
    data: Annotated[Path, typer.Argument(help="Folder with train, more, val and other.")],
    weights: Annotated[str, typer.Argument(help="For catsdogs-train --weights.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("build/release"),
) -> None:
    """Writes the model and its card into the edge package."""
    kinds = _halve(data / "other", out)
    recipe, shown = [], {weights: "WEIGHTS", f"{data}/": "", f"{out}/": ""}
    for step, options in _STEPS.items():
        run = out / step
        given: list[str | Path] = [data / "train", data / "more", "--val", data / "val", "--weights", weights]
        outliers: list[str | Path] = ["--other", out / "learned"] if run.name == list(_STEPS)[-1] else []
        words = ["catsdogs-train", *given, *options.split(), *outliers, "--out", run]
        line = " ".join(map(str, words))
        for ours, theirs in shown.items():
            line = line.replace(ours, theirs)
        recipe.append(f"    {line}")
        if not (run / "model.keras").is_file() or (run / "checkpoint").exists():
            _call(*words, *(["--resume"] if (run / "checkpoint").exists() else []))
        begun = json.loads((run / "run.json").read_text())["settings"]
        if begun["weights"] != weights or begun["data"] != [str(data / part) for part in ("train", "more")]:
            raise SystemExit(f"{run} was made from other data or weights: choose another --out, or remove it")
        weights = str(run / "model.keras")
    _call("catsdogs-export", run, "--int8", "--target", "x86")
    int8 = run / "onnx" / "model.int8.onnx"
    figures = {
        name: json.loads(_call("catsdogs-eval", data / "val", "--model", model, "--other", out / "judged", "--json"))
        for name, model in (("fp32", run / "model.keras"), ("int8", int8))
    }
    described = json.loads((run / "run.json").read_text())
    chosen = json.loads((run / "onnx" / "parity.json").read_text())["int8"]["chosen"]
    card = _CARD.read_text().format(
        **figures,
        megabytes=int8.stat().st_size / 1e6,
        sha256=hashlib.sha256(int8.read_bytes()).hexdigest(),
        images=described["pictures"]["train"],
        outliers=described["familiarity"]["others"],
        kinds=kinds[0],
        judged=kinds[1],
        all_kinds=sum(kinds),
        keep=described["familiarity"]["keep"],
        calibration=chosen["setting"]["calibration"],
        recipe="\n".join(recipe) + "\n",
    )
    with atomic_files(_HOUSE / "edge" / "catsdogs_edge" / "model" / "weights") as folder:
        shutil.copy(int8, folder / MODEL.name)
        (folder / "MODEL_CARD.md").write_text(card)


def _halve(folder: Path, out: Path) -> tuple[int, int]:
    """Links the images of every other kind into `learned`, those of the others into `judged`; counts both."""
    for part in ("learned", "judged"):
        shutil.rmtree(out / part, ignore_errors=True)
    kind_of = {path: re.sub(r"_image_\d+$", "", path.stem) for path in find_images([folder])}
    kinds = sorted(set(kind_of.values()))
    for path, kind in kind_of.items():
        link = out / ("judged" if kinds.index(kind) % 2 else "learned") / kind / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return len(kinds[::2]), len(kinds[1::2])


def _call(*words: str | Path) -> str:
    """Runs a command of ours and returns what it prints."""
    script = Path(sys.executable).with_name(str(words[0]))
    done = subprocess.run([script, *words[1:]], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    typer.run(main)
