import numpy as np
import pytest

from catsdogs_train.network.cross_validation import cross_validate


def test_labels_that_others_contradict_are_found() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(300) % 3
    features = random.normal(0, 1, (300, 40)).astype(np.float32)
    features[np.arange(300), truth] += 6
    wrong = random.permutation(300)[:12]
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    probabilities = cross_validate(features, labels, range(len(labels)), 0)
    assert probabilities.shape == (300, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    suspects = np.flatnonzero((probabilities.argmax(axis=1) != labels) & (probabilities.max(axis=1) > 0.8))
    assert set(suspects) <= set(wrong)
    assert len(suspects) >= 10
    np.testing.assert_array_equal(probabilities, cross_validate(features, labels, range(len(labels)), 0))


def test_a_class_of_one_image_is_judged_by_nobody_and_the_others_are() -> None:
    features = np.random.default_rng(0).normal(0, 1, (5, 4)).astype(np.float32)
    labels = np.array([0, 0, 0, 0, 1])
    assert np.array_equal(cross_validate(features, labels, range(len(labels)), 0).argmax(axis=1), labels)
    truth = np.arange(61) % 2
    features = np.random.default_rng(0).normal(0, 1, (61, 8)).astype(np.float32)
    features[np.arange(61), truth] += 8
    labels = truth.copy()
    labels[7], labels[60] = 0, 2
    found = cross_validate(features, labels, range(len(labels)), 0)
    assert found[7].argmax() == 1
    assert found[60].tolist() == [0, 0, 1]
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_near_copies_do_not_vouch_for_each_other() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(120) % 2
    features = random.normal(0, 1, (120, 40)).astype(np.float32)
    features[np.arange(120), truth] += 6
    burst = np.flatnonzero(truth == 1)[:10]
    features[burst] = features[burst[0]] + random.normal(0, 0.01, (10, 40))
    labels, groups = truth.copy(), np.arange(120)
    labels[burst], groups[burst] = 0, burst[0]
    assert (cross_validate(features, labels, groups.tolist(), 0)[burst, 1] > 0.9).all()


@pytest.mark.parametrize("bursts", [1, 2])
def test_a_class_of_too_few_bursts_is_taken_for_what_it_is(bursts: int) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [20, 20, 10])
    features = random.normal(0, 1, (50, 8)).astype(np.float32)
    features[np.arange(50), labels] += 6
    groups = [min(index, 40 + index % bursts) for index in range(50)]
    found = cross_validate(features, labels, groups, 0)
    assert found[40:].tolist() == [[0, 0, 1]] * 10
    assert (found[:40].argmax(axis=1) == labels[:40]).all()


def test_whatever_the_groups_are_probabilities_add_up_to_one() -> None:
    random = np.random.default_rng(0)
    for trial in range(60):
        count, classes = int(random.integers(2, 25)), int(random.integers(2, 5))
        labels = random.integers(0, classes, count)
        groups = random.integers(0, int(random.integers(1, count + 1)), count).tolist()
        features = random.normal(0, 1, (count, 4)).astype(np.float32)
        found = cross_validate(features, labels, groups, trial)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
