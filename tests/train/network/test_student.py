from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.network.resnet import get_backbone, load_network, unfreeze
from catsdogs_train.network.structure import describe_blocks
from catsdogs_train.network.student import Student, load_student, make_learner, make_student
from catsdogs_train.settings import ComputeDtype, Unfreeze
from tests.train.small_network import build_small_resnet

SIZE = 32
IMAGES = np.random.default_rng(0).integers(0, 256, (24, SIZE, SIZE, 3), np.uint8)
LABELS = np.eye(3, dtype=np.float32)[np.arange(24) % 3]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "model.keras"
    build_small_resnet(3, blocks=(1, 1, 2, 1)).save(path)
    return path


@pytest.fixture(scope="module")
def student(teacher: Path) -> Student:
    return make_student(teacher, SIZE, SIZE, [IMAGES], 1.5, 0, ComputeDtype.FLOAT32)


def distance(student: Student) -> float:
    """How far the student's answers are from the teacher's."""
    answers = [np.asarray(network(IMAGES, training=False)) for network in (student.network, student.teacher)]
    return float(np.square(answers[0] - answers[1]).mean())


def test_its_channels_are_some_of_its_teacher_s(student: Student, teacher: Path) -> None:
    networks = (student.network, load_network(teacher, SIZE, ComputeDtype.FLOAT32))
    for stage, name in ((3, "conv3_block1_0_bn"), (5, "conv5_block1_0_bn")):
        ours, theirs = (get_backbone(network).get_layer(name).get_weights() for network in networks)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other[student.kept[f"conv{stage}"]])


def test_its_teacher_answers_as_before_without_batch_normalization(student: Student, teacher: Path) -> None:
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in get_backbone(student.teacher).layers)
    before = load_network(teacher, SIZE, ComputeDtype.FLOAT32)
    np.testing.assert_allclose(student.teacher(IMAGES, training=False), before(IMAGES, training=False), atol=1e-4)


def test_in_float16_the_loss_is_scaled(teacher: Path) -> None:
    half = make_student(teacher, SIZE, SIZE, [IMAGES], 1.5, 0, ComputeDtype.FLOAT16)
    learner = make_learner(half)
    learner.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    assert isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer)


def test_one_that_is_its_teacher_has_nothing_to_learn(teacher: Path) -> None:
    one, other = (load_network(teacher, None, ComputeDtype.FLOAT32) for _ in range(2))
    widths = {"conv3": 128, "conv4": 256, "conv5": 512}
    learner = make_learner(
        Student(one, other, SIZE, ComputeDtype.FLOAT32, {name: np.arange(n) for name, n in widths.items()})
    )
    learner.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    loss = learner.evaluate(IMAGES, LABELS, sample_weight=np.zeros(24, np.float32), verbose=0)
    assert loss == pytest.approx(0, abs=1e-4)


def test_it_is_written_and_read_again(student: Student, teacher: Path, tmp_path: Path) -> None:
    student.save(tmp_path, SIZE)
    again = load_student(tmp_path, teacher, SIZE, ComputeDtype.FLOAT32)
    assert describe_blocks(get_backbone(again.network)) == describe_blocks(get_backbone(student.network))
    np.testing.assert_array_equal(again.network.get_weights()[0], student.network.get_weights()[0])
    assert distance(again) == pytest.approx(distance(student))
    for name, channels in student.kept.items():
        np.testing.assert_array_equal(again.kept[name], channels)
    (tmp_path / "student.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"student\.npz is damaged"):
        load_student(tmp_path, teacher, SIZE, ComputeDtype.FLOAT32)


def test_it_learns_from_its_teacher_alone_and_without_labels(student: Student) -> None:
    """The last test here: it changes the student."""
    unfreeze(student.network, Unfreeze.ALL)
    learner = make_learner(student)
    assert [id(variable) for variable in learner.trainable_variables] == [
        id(variable) for variable in student.network.trainable_variables
    ]
    assert not any("bn" in variable.path for variable in student.network.trainable_variables)
    before = distance(student)
    kept = student.teacher.get_weights()
    optimizer = keras.optimizers.Adam(1e-4)
    learner.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), weighted_metrics=["accuracy"])
    history = learner.fit(IMAGES, LABELS, sample_weight=np.zeros(24, np.float32), epochs=60, batch_size=24, verbose=0)
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]
    assert distance(student) < 0.7 * before
    for one, other in zip(kept, student.teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
