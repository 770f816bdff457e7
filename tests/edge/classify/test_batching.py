from collections.abc import Iterator
from pathlib import Path

import pytest

from catsdogs_edge.classify.batching import BATCH_SIZE, BATCHES_AHEAD, classify_files
from catsdogs_edge.errors import DataError
from catsdogs_edge.images.discovery import find_images, find_labelled
from catsdogs_edge.images.drawings import write_folder
from catsdogs_edge.model.classifier import Classifier
from tests.edge.conftest import BLUE, RED, encode, plain


def test_folders_are_searched_and_names_given_are_taken(album: Path) -> None:
    given = [album / "notes.txt", album]
    found = [path.relative_to(album).as_posix() for path in find_images(given)]
    assert found == ["notes.txt", "a cat.png", "dog.JPG", "torn.jpg", "sub/кот, 'б'.jpg"]


def test_a_loop_of_links_ends(album: Path) -> None:
    (album / "sub" / "loop").symlink_to(album)
    assert len(list(find_images([album]))) == 4


def test_a_bad_image_is_a_row_and_the_rest_goes_on(album: Path, tiny: Path) -> None:
    rows = list(classify_files(Classifier.load(tiny), find_images([album])))
    outcome = {row.path.name: row.prediction.label if row.prediction else row.error for row in rows}
    assert outcome.pop("torn.jpg").startswith("truncated JPEG")
    assert outcome == {"a cat.png": "cat", "кот, 'б'.jpg": "cat", "dog.JPG": "dog"}


@pytest.mark.parametrize("workers", [1, 3])
def test_rows_keep_the_order_over_many_batches(workers: int, tmp_path: Path, tiny: Path) -> None:
    colours = [RED, BLUE, BLUE] * BATCH_SIZE
    for number, colour in enumerate(colours):
        (tmp_path / f"{number:03}.png").write_bytes(encode(plain(colour)))
    rows = list(classify_files(Classifier.load(tiny, threads=1), find_images([tmp_path]), workers=workers))
    assert [row.prediction.label for row in rows if row.prediction] == ["cat", "dog", "dog"] * BATCH_SIZE
    assert [row.path.stem for row in rows] == [f"{number:03}" for number in range(len(colours))]


@pytest.mark.parametrize("workers", [1, 2])
def test_files_are_taken_as_needed(workers: int, tmp_path: Path, tiny: Path) -> None:
    taken = []

    def endless() -> Iterator[Path]:
        while True:
            taken.append(1)
            yield tmp_path / "missing.jpg"

    row = next(classify_files(Classifier.load(tiny), endless(), workers=workers))
    assert row.error == "no such file"
    assert len(taken) == (1 + BATCHES_AHEAD * workers) * BATCH_SIZE


def test_class_folders_a_level_deeper_are_noticed(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_folder(tmp_path / part, per_class=1)
    with pytest.raises(DataError, match=r"did you mean .*/train instead of"):
        find_labelled(tmp_path)
    classes, labelled = find_labelled(tmp_path / "train")
    assert classes == ("cat", "dog")
    assert [(path.parent.name, label) for path, label in labelled] == [("cat", 0), ("dog", 1)]
