import contextlib
import csv
import hashlib
import json
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import catsdogs_edge.cli.classify
from catsdogs_edge.classify.batching import BATCH_SIZE, BATCHES_AHEAD
from catsdogs_edge.images.decode import read
from catsdogs_edge.images.drawings import write_folder
from catsdogs_edge.runtime.cpu import usable_cpus
from tests.conftest import call_here
from tests.edge.conftest import GREY, RED, encode, no_cuda, plain
from tests.processes import ending


class Command:
    """Runs `catsdogs-classify` as a user does."""

    def __init__(self, script: Path) -> None:
        self.script = script

    def __call__(
        self, *arguments: str | Path, env: dict[str, str] | None = None, text: bool = True
    ) -> subprocess.CompletedProcess[Any]:
        env = os.environ | {"COLUMNS": "120"} | (env or {})
        if text:
            return call_here(catsdogs_edge.cli.classify._app, "catsdogs-classify", *arguments, env=env)
        return subprocess.run([self.script, *arguments], capture_output=True, check=False, env=env)


def unwrapped(table: str) -> str:
    """Joins the lines into which a long path was folded."""
    return "".join(line.strip() for line in table.splitlines())


@pytest.fixture(scope="session")
def classify(scripts: Path) -> Command:
    return Command(scripts / "catsdogs-classify")


def test_csv_has_a_row_for_each_image(classify: Command, album: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "rows.csv"
    done = classify(album, "--model", tiny, "--csv", out)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "4 images: 2 cat, 1 dog, 1 could not be classified" in done.stderr
    assert "CPUExecutionProvider" in done.stderr
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "label", "probability", "familiarity", "cat", "dog", "error"]
    assert [Path(row["path"]).name for row in rows] == ["a cat.png", "dog.JPG", "torn.jpg", "кот, 'б'.jpg"]
    assert [row["label"] for row in rows] == ["cat", "dog", "", "cat"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False]
    assert rows[1]["probability"] == rows[1]["dog"]
    assert float(rows[0]["cat"]) + float(rows[0]["dog"]) == pytest.approx(1, abs=2e-6)  # six decimals


def test_what_is_neither_is_a_label_like_any_other(
    classify: Command, album: Path, familiar: Path, tmp_path: Path
) -> None:
    (album / "sofa.png").write_bytes(encode(plain(GREY)))
    out = tmp_path / "rows.csv"
    done = classify(album, "--model", familiar, "--csv", out, "--copy", tmp_path / "sorted")
    assert "5 images: 2 cat, 1 dog, 1 neither, 1 could not be classified" in done.stderr
    assert "cannot say" not in done.stderr
    with out.open(newline="", encoding="utf-8") as stream:
        (row,) = (row for row in csv.DictReader(stream) if row["path"].endswith("sofa.png"))
    assert row["label"] == "neither"
    assert float(row["probability"]) > 0.9
    assert float(row["probability"]) + float(row["familiarity"]) == pytest.approx(1, abs=2e-6)
    assert float(row["cat"]) == pytest.approx(0.5987, abs=1e-3)
    assert (tmp_path / "sorted" / "neither" / "sofa.png").is_file()


def test_accept_all_names_a_class_and_still_gives_the_score(classify: Command, familiar: Path, tmp_path: Path) -> None:
    (tmp_path / "sofa.png").write_bytes(encode(plain(GREY)))
    done = classify(tmp_path / "sofa.png", "--model", familiar, "--jsonl", "-", "--accept-all")
    row = json.loads(done.stdout)
    assert row["label"] == "cat"
    assert row["familiarity"] < 0.5


def test_a_model_without_the_score_runs_and_says_once_what_it_cannot_do(
    classify: Command, album: Path, tiny: Path
) -> None:
    done = classify(album, "--model", tiny)
    assert done.stderr.count("cannot say 'neither'") == 1


def test_csv_goes_to_standard_output(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album / "a cat.png", "--model", tiny, "--csv", "-")
    assert done.returncode == 0
    header, row = done.stdout.splitlines()
    assert header == "path,label,probability,familiarity,cat,dog,error"
    assert row.startswith(f"{album}/a cat.png,cat,1,,1,0,")


def test_table(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album / "a cat.png", album / "torn.jpg", "--model", tiny)
    assert done.returncode == 3
    assert "a cat.png" in unwrapped(done.stdout)
    assert "truncated JPEG" in unwrapped(done.stdout)


def test_brackets_in_a_name_are_no_markup(classify: Command, tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "[red]x[ops].png").write_bytes(encode(plain(RED)))
    done = classify(tmp_path, "--model", tiny)
    assert "[red]x[ops].png" in unwrapped(done.stdout)


@pytest.mark.parametrize("what", ["missing.jpg", "empty"])
def test_nothing_to_classify_is_a_failure(what: str, classify: Command, tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = classify(tmp_path / what, "--model", tiny)
    assert done.returncode == 1
    assert "0 cat" not in done.stderr


@no_cuda
def test_cuda_where_there_is_none_fails_with_one_line(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album, "--model", tiny, "--provider", "cuda")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("catsdogs-classify: CUDAExecutionProvider")
    assert "edge-cuda" in line or "driver" in line


def test_a_wrong_model_fails_with_one_line(classify: Command, album: Path) -> None:
    done = classify(album, "--model", album / "notes.txt")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "notes.txt is not a model" in line


def test_a_csv_that_cannot_be_written_fails_with_one_line(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album, "--model", tiny, "--csv", album / "notes.txt" / "x.csv")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line


def test_wrong_usage_is_exit_code_2(classify: Command, album: Path, tiny: Path) -> None:
    assert classify().returncode == 2
    assert classify(album, "--model", tiny, "--provider", "abacus").returncode == 2


def test_a_csv_target_is_treated_as_what_it_is(classify: Command, album: Path, tiny: Path, tmp_path: Path) -> None:
    """A link is not written through, a device stays a device, a folder is refused."""
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    for content in ("old", ""):
        (tmp_path / "real.csv").write_text(content)
        done = classify(album / "a cat.png", "--model", tiny, "--csv", tmp_path / "link.csv")
        assert done.returncode == 1
        assert "is a link, and rows are not written through links" in done.stderr
        assert (tmp_path / "real.csv").read_text() == content
    os.mkfifo(tmp_path / "pipe")
    with ending(subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)) as reader:
        assert classify(album / "a cat.png", "--model", tiny, "--csv", tmp_path / "pipe").returncode == 0
        assert "a cat.png,cat" in reader.communicate(timeout=30)[0]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    done = classify(album, "--model", tiny, "--csv", tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Is a directory" in line


def test_names_that_are_no_utf8_go_through(classify: Command, tiny: Path, tmp_path: Path) -> None:
    name = b"caf\xe9.png"
    (tmp_path / os.fsdecode(name)).write_bytes(encode(plain(RED)))
    assert classify(tmp_path, "--model", tiny, "--csv", tmp_path / "rows.csv").returncode == 0
    assert name in (tmp_path / "rows.csv").read_bytes()
    strict = {"PYTHONIOENCODING": "cp1252:strict"}
    assert name in classify(tmp_path, "--model", tiny, "--csv", "-", env=strict, text=False).stdout
    assert classify(tmp_path, "--model", tiny, env=strict, text=False).returncode == 0


def test_paths_that_cannot_be_looked_at_are_rows(classify: Command, album: Path, tiny: Path) -> None:
    done = classify("x" * 300, album / "a cat.png", album / "a cat.png" / "x", "--model", tiny, "--csv", "-")
    assert done.returncode == 3
    assert [line.split(",")[1] for line in done.stdout.splitlines()] == ["label", "", "cat", ""]


def test_a_full_disk_behind_standard_output_is_one_line(classify: Command, album: Path, tiny: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [classify.script, album / "a cat.png", "--model", tiny, "--csv", "-"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "catsdogs-classify: standard output cannot be written: No space left on device"
    )
    assert "Traceback" not in done.stderr


def test_a_real_folder_of_drawings(classify: Command, tiny: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", per_class=3)
    done = classify(tmp_path / "images", "--model", tiny)
    assert done.returncode == 0
    assert "6 images" in done.stderr


def test_json_lines(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album, "--model", tiny, "--jsonl", "-")
    assert done.returncode == 3
    rows = {Path(row["path"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    cat = rows["a cat.png"]
    assert (cat["schema"], cat["label"], cat["error"], cat["provider"]) == (1, "cat", None, "CPUExecutionProvider")
    assert cat["probabilities"] == {"cat": cat["probability"], "dog": pytest.approx(1 - cat["probability"], abs=2e-6)}
    assert cat["model"] == hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert (rows["torn.jpg"]["label"], rows["torn.jpg"]["probabilities"]) == (None, None)
    assert "truncated" in rows["torn.jpg"]["error"]


def test_names_on_standard_input(classify: Command, album: Path, tiny: Path) -> None:
    for names, options in (
        (f"{album}/a cat.png\n{album}/dog.JPG\n", []),
        (f"{album}/a cat.png\0{album}/dog.JPG", ["-0"]),
    ):
        done = subprocess.run(
            [classify.script, "-", "--model", tiny, "--csv", "-", *options],
            input=names, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [line.split(",")[1] for line in done.stdout.splitlines()] == ["label", "cat", "dog"]


def test_rows_come_while_names_are_still_being_written(classify: Command, album: Path, tiny: Path) -> None:
    command: list[str | Path] = [classify.script, "-", "--model", tiny, "--csv", "-"]
    with ending(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)) as running:
        assert running.stdin
        assert running.stdout
        assert running.stdout.readline().startswith("path,")
        running.stdin.write(f"{album}/a cat.png\n" * BATCH_SIZE * (1 + BATCHES_AHEAD * usable_cpus()))
        running.stdin.flush()
        assert ",cat," in running.stdout.readline()
        running.stdin.close()
        assert running.wait(20) == 0


@pytest.mark.parametrize("option", ["--copy", "--move"])
def test_sorting_into_folders(option: str, classify: Command, album: Path, tiny: Path, tmp_path: Path) -> None:
    out = album / "sorted"  # inside what is searched: what is sorted is not found again
    done = classify(album, "--model", tiny, option, out, "--csv", tmp_path / "rows.csv")
    assert done.returncode == 3
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "cat/a cat.png", "cat/кот, 'б'.jpg", "dog/dog.JPG"
    ]  # fmt: skip
    assert (album / "torn.jpg").exists()
    assert (album / "a cat.png").exists() is (option == "--copy")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as stream:
        rows = {Path(row["path"]).name: row["sorted_to"] for row in csv.DictReader(stream)}
    assert rows["dog.JPG"] == str(out / "dog" / "dog.JPG")
    assert rows["torn.jpg"] == ""


def test_an_image_that_may_not_be_removed_does_not_stop_the_others(
    classify: Command, tiny: Path, tmp_path: Path
) -> None:
    write_folder(tmp_path / "in", per_class=2)
    images = sorted((tmp_path / "in").rglob("*.png"))
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", images[0]], check=False).returncode:
        pytest.skip("needs a file that may not be removed")
    try:
        done = classify(tmp_path / "in", "--model", tiny, "--move", tmp_path / "out", "--csv", tmp_path / "rows.csv")
    finally:
        subprocess.run(["chattr", "-i", images[0]], check=True)
    assert done.returncode == 3
    assert f"{images[0]} cannot be removed: Operation not permitted; it is also in " in done.stderr
    assert "1 are still where they were" in done.stderr
    assert [path for path in images if path.exists()] == images[:1]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 5


def test_resume_with_other_options_is_refused(classify: Command, album: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    assert classify(album, "--model", tiny, "--csv", out).returncode == 3
    before = out.read_bytes()
    done = classify(album, "--model", tiny, "--csv", out, "--resume", "--copy", tmp_path / "sorted")
    assert done.returncode == 1
    assert "cannot be resumed" in done.stderr
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "options", [["--resume"], ["--resume", "--csv", "a", "--jsonl", "b"], ["--copy", "a", "--move", "b"], ["--null"]]
)
def test_options_that_do_not_go_together_are_wrong_usage(
    options: list[str], classify: Command, album: Path, tiny: Path
) -> None:
    assert classify(album, "--model", tiny, *options).returncode == 2


def test_resume_needs_a_file(classify: Command, album: Path, tiny: Path) -> None:
    done = classify(album, "--model", tiny, "--csv", "-", "--resume")
    assert (done.returncode, done.stderr) == (
        1, "catsdogs-classify: --resume needs a file, not standard output\n"
    )  # fmt: skip


def test_an_old_output_file_stays_when_the_model_is_wrong(classify: Command, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    out.write_text("precious")
    assert classify(album, "--model", album / "notes.txt", "--csv", out).returncode == 1
    assert out.read_text() == "precious"


def test_a_bar_on_a_terminal(classify: Command, tiny: Path, tmp_path: Path) -> None:
    """Run on a terminal of its own, as a person would see it."""
    write_folder(tmp_path / "images", per_class=60)
    controller, terminal = os.openpty()
    with ending(subprocess.Popen(
        [classify.script, tmp_path / "images", "--model", tiny, "--csv", tmp_path / "rows.csv"],
        stderr=terminal, stdout=subprocess.DEVNULL, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )) as running:  # fmt: skip
        os.close(terminal)
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while block := os.read(controller, 65536):
                said += block
        assert running.wait(20) == 0
    os.close(controller)
    assert b"/120" in said
    assert b"images/s" in said
    assert b"120 images: " in said


@pytest.mark.parametrize("outputs", [["--csv", "{model}"], ["--csv", "{names}"], ["--csv", "{x}", "--jsonl", "{x}"],
                                     ["--csv", "-", "--jsonl", "-"], ["--jsonl", "{image}"],
                                     ["--move", "{album}"]])  # fmt: skip
def test_nothing_is_written_over_what_is_read(
    outputs: list[str], classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{album}/a cat.png\n")
    model = tmp_path / "model.onnx"
    model.write_bytes(tiny.read_bytes())
    image = album / "a cat.png"
    before = {path: path.read_bytes() for path in (names, model, image)}
    words = [word.format(model=model, names=names, x=tmp_path / "x", image=image, album=album) for word in outputs]
    done = classify(album, image, f"@{names}", "--model", model, *words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "would be written over the " in line
    assert {path: path.read_bytes() for path in before} == before


def test_an_image_that_is_named_twice_and_moved_once_is_a_row(
    classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    done = classify(album / "a cat.png", album, "--model", tiny, "--move", tmp_path / "out", "--csv", "-")
    assert done.returncode == 3
    moved = [line for line in done.stdout.splitlines() if "a cat.png" in line]
    assert len(moved) == 2
    assert all(str(tmp_path / "out" / "cat" / "a cat.png") in line or "no such file" in line for line in moved)
    assert len(list((tmp_path / "out").rglob("*.*"))) == 3


def test_a_pattern_leaves_out_the_folder_that_is_sorted_into(
    classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        classify(f"{album}/**/*.*", "--model", tiny, "--copy", album / "sorted" if _ else tmp_path / "out")
        assert not list(tmp_path.rglob("* (2)*"))
    assert classify(f"{album}/**/*.png", "--model", tiny, "--move", album / "sorted").returncode == 0
    assert not (album / "a cat.png").exists()


def test_a_file_too_large_for_an_image_is_a_row(classify: Command, tiny: Path, tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as stream:
        stream.truncate(2**40)  # a hole: it takes no room
    done = classify(tmp_path, "--model", tiny, "--csv", "-")
    assert "1048576 MB, expected an image of 256 MB at most" in done.stdout


@pytest.mark.parametrize("option", ["--model", "--csv", "--copy"])
def test_a_name_that_is_too_long_is_one_line(option: str, classify: Command, album: Path, tiny: Path) -> None:
    options = ["--model", tiny, option, "x" * 300] if option != "--model" else [option, "x" * 300]
    done = classify(album, *options)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_failure(
    closed: str, classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    """As cron and daemons start programs."""
    out = tmp_path / "rows.csv"
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", classify.script, album / "a cat.png", "--model", tiny, "--csv", out],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ",cat," in out.read_text()
    assert "Traceback" not in done.stderr


def test_a_list_from_a_pipe_is_read_once(classify: Command, tiny: Path, tmp_path: Path) -> None:
    """Also on a terminal, where a second reader would count for the bar."""
    write_folder(tmp_path / "images", per_class=20)
    names = "\n".join(map(str, (tmp_path / "images").rglob("*.png")))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    controller, terminal = os.openpty()
    with ending(subprocess.Popen(
        [classify.script, f"@{fifo}", "--model", tiny, "--csv", tmp_path / "rows.csv"],
        stderr=terminal, stdout=subprocess.DEVNULL, env=os.environ | {"TERM": "xterm"},
    )) as running:  # fmt: skip
        fifo.write_text(names)
        assert running.wait(30) == 0
    os.close(terminal)
    os.close(controller)
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 41


def test_sorting_a_sorted_folder_again_changes_nothing(classify: Command, album: Path, tiny: Path) -> None:
    out = album / "sorted"
    assert classify(album, "--model", tiny, "--move", out).returncode == 3
    before = {path: path.read_bytes() for path in album.rglob("*.*") if path.is_file()}
    for option in ("--move", "--copy"):
        for source in (f"{out}/*/", f"{out}/cat"):
            done = classify(source, "--model", tiny, option, out, "--jsonl", "-")
            assert done.returncode == 0
            assert all(row["path"] == row["sorted_to"] for row in map(json.loads, done.stdout.splitlines()))
            assert {path: path.read_bytes() for path in album.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_file_with_something_else_is_never_overwritten(
    name: str, classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    option = f"--{name.partition('.')[2]}"
    precious = tmp_path / name
    precious.write_text("my diary\n")
    done = classify(album, "--model", tiny, option, precious)
    assert done.returncode == 1
    assert f"{precious} holds something else than such rows" in done.stderr
    assert precious.read_text() == "my diary\n"
    for image in (album / "a cat.png", album / "dog.JPG"):  # as where the name after --csv was forgotten
        whole = image.read_bytes()
        assert classify(album / "sub", "--model", tiny, option, image).returncode == 1
        assert image.read_bytes() == whole


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_old_rows_stay_where_no_image_is_found(
    name: str, classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    rows, option = tmp_path / name, f"--{name.partition('.')[2]}"
    assert classify(album, "--model", tiny, option, rows).returncode == 3
    before = rows.read_bytes()
    (tmp_path / "empty").mkdir()
    for source, reason in ((tmp_path / "empty", "no images found"), ("mistyped", "mistyped: no such image or folder")):
        done = classify(source, "--model", tiny, option, rows)
        assert (done.returncode, done.stderr) == (1, f"catsdogs-classify: {reason}\n")
        assert rows.read_bytes() == before
    assert classify(album / "sub", "--model", tiny, option, rows).returncode == 0  # ours may be written anew
    assert rows.read_bytes() != before


def test_two_runs_do_not_write_one_file(classify: Command, album: Path, tiny: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    for resume in ((), ("--resume",)):
        command: list[str | Path] = [classify.script, "-", "--model", tiny, "--csv", rows, *resume]
        with ending(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)) as first:
            assert first.stdin
            first.stdin.write(f"{album}/a cat.png\n".encode())
            first.stdin.flush()
            while not rows.exists():
                time.sleep(0.02)
            time.sleep(2)  # until it holds the file; with --resume, that of the run before is there
            for other in ((), ("--resume",)):
                done = classify(album, "--model", tiny, "--csv", rows, *other)
                assert done.returncode == 1
                assert "is being written by another process" in done.stderr
            first.stdin.close()
            assert first.wait(20) == 0
        assert rows.read_text().count("a cat.png") == 1


def test_rows_that_are_removed_meanwhile_end_the_run(
    classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    batch = f"{album}/a cat.png\n".encode() * BATCH_SIZE * (1 + BATCHES_AHEAD * usable_cpus())
    with ending(
        subprocess.Popen(
            [classify.script, "-", "--model", tiny, "--csv", rows],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    ) as running:
        assert running.stdin
        assert running.stderr
        running.stdin.write(batch)
        running.stdin.flush()
        while not rows.exists() or not rows.stat().st_size:  # it is there before it is open for good
            time.sleep(0.02)
        rows.unlink()
        time.sleep(1.1)
        with contextlib.suppress(BrokenPipeError):  # it may have seen it already
            running.stdin.write(batch)
            running.stdin.close()
        assert running.wait(20) == 1
        assert b"was removed or moved away while it was written" in running.stderr.read()


def test_rows_with_an_error_are_tried_again(classify: Command, album: Path, tiny: Path, tmp_path: Path) -> None:
    for option, rows in (("--csv", tmp_path / "rows.csv"), ("--jsonl", tmp_path / "rows.jsonl")):
        torn = (album / "torn.jpg").read_bytes()
        assert classify(album, "--model", tiny, option, rows).returncode == 3
        assert classify(album, "--model", tiny, option, rows, "--resume").returncode == 3  # it still cannot be read
        (album / "torn.jpg").write_bytes(encode(plain(RED), ".jpg"))
        assert classify(album, "--model", tiny, option, rows, "--resume").returncode == 0
        assert rows.read_text().count("torn.jpg") == 1
        (album / "torn.jpg").write_bytes(torn)


def test_a_move_that_was_killed_after_its_rows_is_finished(
    classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    """The last originals may still be there: `--resume` removes those whose copy is the same, and no other."""
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    names = ("a cat.png", "dog.JPG")
    content = {name: (album / name).read_bytes() for name in names}
    assert classify(album, "--model", tiny, "--move", out, "--csv", rows).returncode == 3
    shutil.copy2(out / "cat" / "a cat.png", album / "a cat.png")  # as copies of ours are, with its time
    (album / "dog.JPG").write_bytes(encode(plain(RED), ".jpg"))  # a new upload
    assert classify(album, "--model", tiny, "--move", out, "--csv", rows, "--resume").returncode == 3
    assert not (album / "a cat.png").exists()
    assert (album / "dog.JPG").exists()
    assert (out / "cat" / "a cat.png").read_bytes() == content["a cat.png"]
    (album / "a cat.png").write_bytes(content["a cat.png"])  # the same image, that came later
    assert classify(album, "--model", tiny, "--move", out, "--csv", rows, "--resume").returncode == 3
    assert (album / "a cat.png").exists()


def test_new_images_under_the_names_of_old_ones_are_said(classify: Command, tiny: Path, tmp_path: Path) -> None:
    """The next memory card has an IMG_0001, too."""
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    command = (tmp_path / "in", "--model", tiny, "--move", out, "--csv", rows, "--resume")
    write_folder(tmp_path / "in", per_class=40)
    assert classify(*command).returncode == 0
    write_folder(tmp_path / "in", per_class=40, first_seed=100)
    for new in (tmp_path / "in").rglob("*.png"):
        new.rename(new.with_name(f"{int(new.stem) - 100}.png"))
    done = classify(*command)
    assert done.returncode == 3
    assert "80 are still where they were" in done.stderr
    assert len(list((tmp_path / "in").rglob("*.png"))) == 80


def test_an_original_whose_copy_became_a_link_to_it_stays(
    classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    assert classify(album / "a cat.png", "--model", tiny, "--copy", out, "--csv", rows).returncode == 0
    copy = out / "cat" / "a cat.png"
    copy.unlink()
    copy.symlink_to(album / "a cat.png")
    done = classify(album / "a cat.png", "--model", tiny, "--move", out, "--csv", rows, "--resume")
    assert done.returncode == 3
    assert "1 are still where they were" in done.stderr
    assert (album / "a cat.png").is_file()


def test_a_run_that_cannot_begin_leaves_the_rows_of_before(
    classify: Command, album: Path, tiny: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    assert classify(album, "--model", tiny, "--csv", rows).returncode == 3
    before = rows.read_bytes()
    (tmp_path / "file").write_text("in the way")
    for option in ("--copy", "--jsonl"):
        assert classify(album, "--model", tiny, "--csv", rows, option, tmp_path / "file").returncode == 1
        assert rows.read_bytes() == before
    (tmp_path / "truth.csv").write_text("path,label,annotator\na.jpg,cat,Anna\n")
    assert classify(album, "--model", tiny, "--csv", tmp_path / "truth.csv").returncode == 1
    assert "Anna" in (tmp_path / "truth.csv").read_text()


def test_maps_are_images_to_look_at(classify: Command, album: Path, familiar: Path, tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    done = classify(album, "--model", familiar, "--maps", folder)
    assert done.returncode == 3  # one image is torn
    assert {path.name for path in folder.iterdir()} == {"a cat.jpg", "dog.jpg", "кот, 'б'.jpg"}
    image = read(folder / "a cat.jpg")
    height, width = read(album / "a cat.png").shape[:2]
    assert image.shape[1] * height > image.shape[0] * width  # two of them, side by side
    assert classify(album, "--model", familiar, "--maps", folder).returncode == 3
    assert len(list(folder.iterdir())) == 6  # none is overwritten


def test_maps_among_the_images_are_refused(classify: Command, album: Path, familiar: Path) -> None:
    done = classify(album, "--model", familiar, "--maps", album / "maps")
    assert done.returncode == 1
    assert f"--maps {album / 'maps'} lies in {album}, which is classified" in unwrapped(done.stderr)
    assert not (album / "maps").exists()


def test_an_image_that_goes_before_its_map_still_has_its_row(
    classify: Command, album: Path, familiar: Path, tmp_path: Path
) -> None:
    done = classify(album, "--model", familiar, "--maps", tmp_path / "maps", "--move", tmp_path / "sorted")
    assert done.returncode == 3
    assert len(list((tmp_path / "maps").iterdir())) == 3
    assert (tmp_path / "sorted" / "cat" / "a cat.png").is_file()
