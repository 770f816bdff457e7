"""A bucket: S3, as moto serves it on this machine."""

import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.conftest import BLUE, RED, encode, plain

pytest.importorskip("pyarrow", reason="Arrow is in the edge's environment only")
pytestmark = pytest.mark.slow


moto = pytest.importorskip("moto.server")
fs = pytest.importorskip("pyarrow.fs")
storage = pytest.importorskip("catsdogs_edge.cluster.storage")
errors = pytest.importorskip("catsdogs_edge.errors")


@pytest.fixture
def query(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What makes an S3 URI one of the server here; its bucket `pets` has three images and a note."""
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    query = f"?scheme=http&endpoint_override={host}:{port}&allow_bucket_creation=true"
    system, _ = fs.FileSystem.from_uri(f"s3://pets/{query}")
    system.create_dir("pets")
    files = {
        "in/a #1.png": encode(plain(RED)),
        "in/b/dog.jpg": encode(plain(BLUE), ".jpg"),
        "in/b/.hidden/x.png": encode(plain(BLUE)),
        "in/torn.jpg": encode(plain(RED, 400, 400), ".jpg")[:2000],
        "in/notes.txt": b"no image",
    }
    for name, data in files.items():
        with system.open_output_stream(f"pets/{name}") as stream:
            stream.write(data)
    yield query
    server.stop()


def test_what_is_in_a_bucket(query: str) -> None:
    def find(location: str) -> list[str]:
        return [name.removesuffix(query) for name in storage.find_objects(location + query)]

    everything = ["s3://pets/in/a%20%231.png", "s3://pets/in/b/dog.jpg", "s3://pets/in/torn.jpg"]
    assert find("s3://pets/in") == find("s3://pets/in/") == find("s3://pets") == everything
    assert find("s3://pets/in/*.jpg") == everything[1:]
    assert find("s3://pets/in/notes.txt") == ["s3://pets/in/notes.txt"]
    assert storage.read_image(everything[0] + query, "") == encode(plain(RED))
    with pytest.raises(errors.ImageError, match="no such file"):
        storage.read_image("s3://pets/in/none.jpg" + query, "")
    with pytest.raises(errors.DataError, match=r"cannot be listed: .*bucket"):
        find("s3://nobody/in")


def test_a_store_in_a_bucket_holds_whole_files(query: str) -> None:
    store = storage.Store("s3://pets/out" + query)
    assert store.names() == set()
    with store.writing("whole.txt") as path:
        path.write_text("whole")
    with pytest.raises(ZeroDivisionError), store.writing("half.txt") as path:
        path.write_text("ha")
        _ = 1 / 0
    assert store.names() == {"whole.txt"}
    with storage.open_file(store.locate("whole.txt")) as stream:
        assert stream.read() == b"whole"


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    store = storage.Store(str(tmp_path))
    with store.writing("whole.txt") as path:
        path.write_text("whole")
    killed = tmp_path / f".catsdogs-{'a1' * 8}"
    killed.mkdir()
    (killed / "half.txt").write_text("ha")
    (tmp_path / f"{killed.name}-half.txt").write_text("ha")  # as where a URI is written to
    theirs = {".catsdogs-manifest.parquet", f"{killed.name[1:]}.txt"}
    for name in theirs:
        (tmp_path / name).write_text("theirs")
    store.remove_half_written()
    assert store.names() == {"whole.txt", *theirs}


def test_from_a_bucket_to_a_bucket(query: str, tiny: Path, scripts: Path) -> None:
    pytest.importorskip("ray")
    command: list[str | Path] = [
        scripts / "catsdogs-classify",
        f"s3://pets/in{query}",
        "--engine",
        "ray",
        "--model",
        tiny,
    ]
    command += ["--parts", f"s3://pets/labels{query}", "--format", "csv", "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    store = storage.Store("s3://pets/labels" + query)
    assert store.names() == {".catsdogs-manifest.parquet", "plan.json", "part-0000000.csv"}
    with storage.open_file(store.locate("part-0000000.csv")) as stream:
        rows = list(csv.DictReader(stream.read().decode().splitlines()))
    assert [row["label"] or row["error"].partition(":")[0] for row in rows] == ["cat", "dog", "truncated JPEG"]
    assert rows[0]["path"] == f"s3://pets/in/a%20%231.png{query}"
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "3 were there before; no images are left" in again.stderr
