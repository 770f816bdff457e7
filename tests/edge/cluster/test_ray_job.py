"""Images by the million: the same rows as from one process, whoever is killed."""

import contextlib
import csv
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import catsdogs_edge.cli.classify
from catsdogs_edge.images.drawings import write_folder
from tests.conftest import call_here, make_once
from tests.edge.conftest import BLUE, RED, encode, plain

pytest.importorskip("ray", reason="Ray is in the edge's environment only")
pytestmark = pytest.mark.slow


pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
manifest = pytest.importorskip("catsdogs_edge.cluster.manifest")

Rows = list[dict[str, str]]

MANY = 480
"""Images that two workers need some seconds for."""

ON_RAY = ("--engine", "ray")


def call(scripts: Path, *arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [scripts / "catsdogs-classify", *arguments],
        capture_output=True, text=True, check=False, errors="surrogateescape", **options,
    )  # fmt: skip


def read_csv(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def read_parts(folder: Path) -> Rows:
    """All rows, in order; Parquet as CSV would say it."""
    rows: Rows = []
    for part in sorted(folder.glob("part-*")):
        if part.suffix == ".csv":
            rows += read_csv(part)
            continue
        for row in pq.read_table(part).to_pylist():
            rows.append({name: value if isinstance(value, str) else number(value) for name, value in row.items()})
    return rows


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


@pytest.fixture(scope="module")
def many(for_all: Path) -> Path:
    """A folder of images, some of them no images."""

    def make(place: Path) -> None:
        write_folder(place / "drawn", per_class=6, soft=True)  # the model takes hard edges for neither
        (place / "drawn" / "torn.jpg").write_bytes(encode(plain(RED, 400, 400), ".jpg")[:2000])
        (place / "links").mkdir()
        files = sorted(path for path in (place / "drawn").rglob("*") if path.is_file())
        for location in range(MANY):
            (place / "links" / f"{location:04}.jpg").symlink_to(files[location % len(files)])

    return make_once(for_all, "many", make) / "links"


@pytest.fixture(scope="module")
def expected(many: Path, scripts: Path, for_all: Path) -> Rows:
    """The rows of the single-machine command."""

    def make(place: Path) -> None:
        place.mkdir()
        assert call(scripts, many, "--csv", place / "rows.csv").returncode == 3

    rows = read_csv(make_once(for_all, "rows of many", make) / "rows.csv")
    assert len(rows) == MANY
    assert {row["label"] for row in rows} >= {"cat", "dog", ""}
    return rows


BUSY, IDLE = b"ray::_do_shard", b"ray::IDLE"


def workers(driver: int, *kinds: bytes) -> list[int]:
    """Process numbers of a driver's workers, those of some kinds: that have a shard in hand, that have none."""
    titles: dict[int, bytes] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            titles[int(folder.name)] = (folder / "cmdline").read_bytes()
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])

    def descends(process: int) -> bool:
        while process and process != driver:
            process = parents.get(process, 0)
        return process == driver

    return [process for process, found in titles.items() if found.startswith(kinds) and descends(process)]


@contextlib.contextmanager
def started(scripts: Path, *arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    command = [scripts / "catsdogs-classify", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_parts(folder: Path, count: int, process: "subprocess.Popen[str]") -> list[Path]:
    """Waits until so many are there."""
    deadline = time.monotonic() + 90
    while len(parts := sorted(folder.glob("part-*"))) < count:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return parts


def test_rows_are_those_of_the_single_machine_command(
    many: Path, expected: Rows, scripts: Path, tmp_path: Path
) -> None:
    """In Parquet; other tests compare CSV."""
    done = call(scripts, many, *ON_RAY, "--parts", tmp_path / "out")
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"{MANY} images: ")
    assert read_parts(tmp_path / "out") == expected
    assert len(list((tmp_path / "out").glob("part-*"))) > 2


def test_a_worker_and_then_the_driver_are_killed_and_each_image_has_one_row(
    many: Path, expected: Rows, scripts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = (many, *ON_RAY, "--parts", out, "--format", "csv", "--shard-size", "8")
    with started(scripts, *options) as process:
        wait_for_parts(out, 2, process)
        while not (victims := workers(process.pid, BUSY)):  # between two shards, a worker has none
            assert process.poll() is None
        os.kill(victims[0], signal.SIGKILL)
        before = len(list(out.glob("part-*")))
        wait_for_parts(out, before + 8, process)  # more than the other worker had at hand
        orphans = [Path(f"/proc/{worker}/stat") for worker in workers(process.pid, BUSY, IDLE)]
        assert orphans
        process.kill()
        process.wait()
    deadline = time.monotonic() + 30
    while any(orphan.exists() for orphan in orphans):  # they go when the driver is gone
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kept = sorted(out.glob("part-*"))
    assert len(kept) < MANY // 8
    half_written = out / f".catsdogs-{'0' * 16}"  # as a worker that was killed may leave one
    half_written.mkdir()
    (half_written / "part-0000000.csv").write_text("path,lab")
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert call(scripts, *options).returncode == 1  # not without --resume
    done = call(scripts, *options, "--resume")
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith(f"{8 * len(kept)} were there before; {MANY - 8 * len(kept)} images: ")
    assert {path: path.stat().st_mtime_ns for path in kept} == times
    assert read_parts(out) == expected
    assert {path.name for path in out.iterdir()} == {
        manifest.OWN_MANIFEST, manifest.PLAN, *(f"part-{location:07}.csv" for location in range(MANY // 8)),
    }  # fmt: skip


def test_a_job_on_one_machine_has_a_token_of_its_own_and_ends_by_sigterm(
    many: Path, scripts: Path, tmp_path: Path
) -> None:
    options = (many, *ON_RAY, "--parts", tmp_path / "out", "--format", "csv", "--shard-size", "8")
    with started(scripts, *options) as process:
        wait_for_parts(tmp_path / "out", 1, process)
        environments = [Path(f"/proc/{worker}/environ").read_bytes() for worker in workers(process.pid, BUSY, IDLE)]
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    tokens = {line for text in environments for line in text.split(b"\0") if line.startswith(b"RAY_AUTH_TOKEN=")}
    assert len(tokens) == 1
    assert len(tokens.pop().partition(b"=")[2]) == 64


@pytest.mark.parametrize(
    ("shards", "sentence", "more"),
    [
        (1, "1 of 1 shards are not done", f"rows 0 to {MANY - 1}"),
        (
            3,
            "3 shards, one after the other, killed their workers 4 times each",
            "--resume",
        ),  # twice the workers, and one
    ],
)
def test_a_shard_whose_worker_dies_each_time_is_left_for_another_day(
    shards: int, sentence: str, more: str, many: Path, expected: Rows, scripts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    size = str(MANY // shards)
    options = (many, *ON_RAY, "--threads", "1", "--parts", out, "--format", "csv", "--shard-size", size)
    with started(scripts, *options) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None:
            assert time.monotonic() < deadline
            for worker in workers(process.pid, BUSY):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            time.sleep(0.05)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 1
    assert said.startswith(f"catsdogs-classify: {sentence}"), said
    assert more in said
    assert call(scripts, *options, "--resume").returncode == 3
    assert read_parts(out) == expected


def test_manifests(tiny: Path, album: Path, scripts: Path, tmp_path: Path) -> None:
    """CSV and Parquet, with paths from here, absolute ones and URIs; what is not there is a row."""
    odd = os.fsdecode(b"caf\xe9.png")
    (album / odd).write_bytes(encode(plain(BLUE)))
    names = ["a cat.png", str(album / "dog.JPG"), (album / "sub" / "кот, 'б'.jpg").as_uri(), "none.jpg"]
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "uri": names}), tmp_path / "pets.parquet", row_group_size=3)
    with (tmp_path / "pets.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        csv.writer(stream).writerows([("n", "path"), (1, "torn.jpg"), (2, odd), (3, ""), (4, "s3://[bad"), (5, "a\0b")])
    options = ("--engine", "ray", "--model", tiny, "--shard-size", "2", "--format")
    done = call(
        scripts,
        tmp_path / "pets.csv",
        tmp_path / "pets.parquet",
        *options,
        "csv",
        "--parts",
        tmp_path / "out",
        cwd=album,
    )
    assert done.returncode == 3, done.stderr
    rows = read_parts(tmp_path / "out")
    assert [(row["path"], row["label"], row["error"].partition(":")[0]) for row in rows] == [
        (names[0], "cat", ""),
        (names[1], "dog", ""),
        (names[2], "cat", ""),
        (names[3], "", "no such file"),
        ("torn.jpg", "", "truncated JPEG"),
        (odd, "dog", ""),
        ("", "", "no image is named here"),
        ("s3://[bad", "", "cannot be read"),
        ("a\0b", "", "not a path"),
    ]
    uri = (album / odd).as_uri()
    (tmp_path / "odd.txt").write_bytes(os.fsencode(f"{odd}\n{uri}\n"))
    done = call(scripts, f"@{tmp_path / 'odd.txt'}", *options, "parquet", "--parts", tmp_path / "odd", cwd=album)
    assert done.returncode == 0, done.stderr
    assert [row["path"] for row in read_parts(tmp_path / "odd")] == [r"caf\xe9.png", uri]
    (tmp_path / "odd" / "part-0000000.parquet").unlink()
    done = call(scripts, f"@{tmp_path / 'odd.txt'}", *options, "parquet", "--parts", tmp_path / "odd", "--resume")
    assert done.returncode == 0, done.stderr  # from another folder: paths start where they did
    names[0] = "dog.JPG"  # as many as before
    pq.write_table(pa.table({"id": [1, 2, 3, 4], "uri": names}), tmp_path / "pets.parquet", row_group_size=3)
    again = (tmp_path / "pets.csv", tmp_path / "pets.parquet", *options, "csv", "--parts", tmp_path / "out", "--resume")
    done = call(scripts, *again)
    assert done.returncode == 1
    assert "has changed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x", "--engine", "ray"], 2, "--engine ray writes to --parts alone"),
        (["x", "--engine", "ray", "--parts", "out", "--csv", "rows.csv"], 2, "--engine ray writes to --parts alone"),
        (["x", "--parts", "out"], 2, "go with --engine ray"),
        (["x", "--engine", "ray", "--parts", "out", "--provider", "cuda"], 2, "works on CPUs"),
        (["full", "--engine", "ray", "--parts", "full"], 1, "would be written over the input"),
        (["x.jpg", "--engine", "ray", "--parts", "full"], 1, "full holds other files (notes.txt)"),
        (["list.parquet", "--engine", "ray", "--parts", "."], 1, "holds other files (columns.csv)"),
        (["numbers.parquet", "--engine", "ray", "--parts", "out"], 1, "are int64, expected strings"),
        (["s3://[bad", "--engine", "ray", "--parts", "out"], 1, "s3://[bad cannot be listed: Invalid IPv6 URL"),
        (["x.jpg", "--engine", "ray", "--parts", "full/notes.txt"], 1, "is a file, expected a folder"),
        (["wrong.parquet", "--engine", "ray", "--parts", "out"], 1, "is not a Parquet file"),
        (
            ["columns.csv", "--engine", "ray", "--parts", "out"],
            1,
            "has the columns a, b, expected one called uri or path",
        ),
        (["foo://x/y", "--engine", "ray", "--parts", "out"], 1, "foo://x/y cannot be listed: Unrecognized filesystem"),
        (["x.jpg", "--engine", "ray", "--parts", "foo://x/y"], 1, "foo://x/y cannot be used: Unrecognized filesystem"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: Sequence[str], code: int, said: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "wrong.parquet").write_text("no")
    (tmp_path / "columns.csv").write_text("a,b\n1,2\n")
    pq.write_table(pa.table({"path": ["x.jpg"]}), tmp_path / "list.parquet")
    pq.write_table(pa.table({"path": [1]}), tmp_path / "numbers.parquet")
    done = call_here(catsdogs_edge.cli.classify._app, "catsdogs-classify", *arguments, "--model", tiny)
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.replace("│", "").split())
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_a_cluster_that_does_not_answer_is_said(tiny: Path, scripts: Path, tmp_path: Path) -> None:
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}
    done = call(scripts, "x.jpg", "--engine", "ray", "--parts", tmp_path / "out", "--model", tiny, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("catsdogs-classify: RAY_ADDRESS is 127.0.0.1:1, where nobody answers: "), done.stderr


def test_a_cluster_is_joined_with_its_token(many: Path, expected: Rows, scripts: Path, tmp_path: Path) -> None:
    """`ray start` asks for one if the home of who starts it has any, and that it has after any other use of Ray."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(64 * "7")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HOME": str(tmp_path), "RAY_ADDRESS": f"127.0.0.1:{port}"}
    command: list[str | Path] = [scripts / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    options = (many, *ON_RAY, "--parts", tmp_path / "out", "--format", "csv")
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as cluster:
        try:
            deadline = time.monotonic() + 60
            while (done := call(scripts, *options, "--resume", env=environment)).stderr.endswith("refused\n"):
                assert time.monotonic() < deadline
                time.sleep(0.5)
            assert done.returncode == 1
            assert done.stderr.startswith("catsdogs-classify: the cluster asks for a token: set RAY_AUTH_MODE=token")
            tokenless = environment | {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path / "nobody")}
            done = call(scripts, *options, "--resume", env=tokenless)
            assert done.returncode == 1
            assert done.stderr.startswith("catsdogs-classify: the cluster asks for a token: "), done.stderr
            done = call(scripts, *options, "--resume", env=environment | {"RAY_AUTH_MODE": "token"})
            assert done.returncode == 3, done.stderr
            # Nobody names it: another one is started.
            done = call(
                scripts, *options[:-3], tmp_path / "own", "--format", "csv", env=environment | {"RAY_ADDRESS": ""}
            )
            assert done.returncode == 3, done.stderr
        finally:
            cluster.terminate()
    assert read_parts(tmp_path / "out") == expected
