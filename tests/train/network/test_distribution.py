"""Several devices, and several processes, learn what one device learns: two logical CPUs stand for two GPUs."""

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.backend import BACKENDS
from catsdogs_train.data.split import Sample
from catsdogs_train.network.distribution import HOSTS, Distribution, assemble
from catsdogs_train.settings import Devices
from catsdogs_train.views.batches import BatchShard, ImageBatches, make_targets
from catsdogs_train.views.prefetch import Viewing
from tests.train.trainings import FINE_TUNING, HEAD, ON_DEVICE, Training, finish, history


def assert_same_curves(run: Path, other: Path) -> None:
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    found, expected = (
        np.array([[float(epoch[name]) for name in names] for epoch in history(each)]) for each in (run, other)
    )
    assert expected.shape == (HEAD + FINE_TUNING, 4)
    assert len(set(expected[:, 1])) == len(expected)  # else what follows would prove little
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)  # sums in another order: 1e-5 was seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "options"), [(backend, options) for backend in BACKENDS for options in ((), ON_DEVICE)]
)
def test_two_devices_learn_what_one_learns(
    backend: str, options: tuple[str, ...], training: Training, tmp_path: Path
) -> None:
    alone, _ = training.undisturbed(backend, *options)
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"} if backend == "jax" else {}
    finish(training.start(backend, tmp_path / "run", "--devices", "all", *options, environment=two))
    assert_same_curves(tmp_path / "run", alone)


def hosts(count: int) -> list[dict[str, str]]:
    """What tells each process of the others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            HOSTS: str(count),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        }
        for index in range(count)
    ]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_and_one_of_them_writes_the_run(training: Training, tmp_path: Path) -> None:
    alone, _ = training.undisturbed("jax")
    first, second = tmp_path / "run", tmp_path / "second"
    second.mkdir()
    (second / "checkpoint").symlink_to(first / "checkpoint")  # all that it needs to see of the run folder
    finish(
        *(
            training.start("jax", out, "--devices", "all", environment=environment)
            for out, environment in zip((first, second), hosts(2), strict=True)
        )
    )
    assert_same_curves(first, alone)
    assert {path.name for path in first.iterdir()} == {path.name for path in alone.iterdir()}
    assert [path.name for path in second.iterdir()] == ["checkpoint"]
    found, expected = (json.loads((run / "run.json").read_text()) for run in (first, alone))
    assert found["familiarity"] == expected["familiarity"]
    assert found["temperature"] == pytest.approx(expected["temperature"], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("different", "said"),
    [
        ([["--seed", "0"], ["--seed", "1"]], "the hosts do not see the same: give each the same options"),
        ([["--out", "{}/one"], ["--out", "{}/two"]], "the hosts do not see the same {}/"),
    ],
)
def test_hosts_that_do_not_see_the_same_are_told_so(
    different: list[list[str]], said: str, training: Training, tmp_path: Path
) -> None:
    pytest.importorskip("jax")
    processes = [
        training.start("jax", tmp_path / "run", *(part.format(tmp_path) for part in options), environment=environment)
        for options, environment in zip(different, hosts(2), strict=True)
    ]
    for process in processes:
        with process:
            printed = process.communicate(timeout=120)[1]
        assert process.returncode == 1
        assert printed.splitlines()[-1].startswith(f"catsdogs-train: {said.format(tmp_path)}"), printed
    assert not list(tmp_path.rglob("model.keras"))


@pytest.mark.slow
def test_an_error_of_one_host_ends_the_others(training: Training, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    processes = [
        training.start("jax", tmp_path / "run", images=images, environment=environment)
        for images, environment in zip((training.images, tmp_path), hosts(2), strict=True)
    ]
    printed = []
    for process in processes:
        with process:
            printed.append(process.communicate(timeout=120)[1].splitlines()[-1])
        assert process.returncode == 1
    assert printed[0].startswith("catsdogs-train: the hosts do not see the same: "), printed
    assert printed[1].startswith(f"catsdogs-train: {tmp_path} has 0 class folders"), printed


def test_several_hosts_need_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOSTS, "2")
    with pytest.raises(DataError, match="set KERAS_BACKEND=jax"):
        assemble(Devices.ALL)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    Distribution(BatchShard(4)).check(32, 4)
    with pytest.raises(DataError, match="--batch-size 30 cannot be shared by 4 devices: take 32"):
        Distribution(BatchShard(4)).check(30, 4)
    with pytest.raises(DataError, match="3 images to train for 4 devices"):
        Distribution(BatchShard(4)).check(32, 3)


@pytest.mark.parametrize(("devices", "processes"), [(1, 1), (4, 1), (4, 2)])
def test_processes_show_each_image_once_but_for_what_cannot_be_shared(
    devices: int, processes: int, drawings: Path
) -> None:
    paths = sorted(drawings.rglob("*.*"))[:23]
    samples = [Sample(path, index % 2, str(index)) for index, path in enumerate(paths)]
    targets = make_targets(samples, 2)
    viewing = Viewing(image_size=32, seed=3, view=1)
    whole = ImageBatches(samples, viewing, 8, targets=targets, shuffle=True)
    parts = [
        ImageBatches(samples, viewing, 8, targets=targets, shuffle=True, shard=BatchShard(devices, processes, process))
        for process in range(processes)
    ]
    lengths: Sequence[int] = [8, 8, 7 // devices * devices]
    assert [len(batches) for batches in parts] == [3] * processes
    for index, length in enumerate(lengths):
        shown = [batches[index] for batches in parts]
        for part in (0, 1):
            together = np.concatenate([batch[part] for batch in shown])
            np.testing.assert_array_equal(together, whole[index][part][:length])


def test_a_block_of_images_is_as_long_for_each_process() -> None:
    assert [BatchShard(2, 2, host).block(5).tolist() for host in (0, 1)] == [[0, 1, 2], [3, 4, 4]]
    assert [BatchShard(3, 3, host).block(2).tolist() for host in (0, 1, 2)] == [[0], [1], [1]]
