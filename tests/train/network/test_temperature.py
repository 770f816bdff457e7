import numpy as np
import pytest

from catsdogs_edge.evaluation.metrics import Labels, log_loss
from catsdogs_edge.model.scores import Scores, softmax
from catsdogs_train.network.temperature import fit_temperature


def draw(scale: float, classes: int) -> tuple[Scores, Labels]:
    """Labels drawn from the very probabilities that the logits say, then made so many times too large."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, classes)).astype(np.float32)
    truth = np.array([random.choice(classes, p=row / row.sum()) for row in softmax(logits).astype(np.float64)])
    return np.asarray(logits * np.float32(scale)), truth


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_it_takes_back_what_makes_a_network_too_sure_or_not_sure_enough(scale: float, classes: int) -> None:
    logits, truth = draw(scale, classes)
    temperature = fit_temperature(logits, truth)
    assert temperature == pytest.approx(scale, rel=0.08)
    least = log_loss(softmax(logits / np.float32(temperature)), truth)
    for other in (0.95, 1.05):
        assert least < log_loss(softmax(logits / np.float32(temperature * other)), truth)


def test_where_no_answer_is_wrong_it_stays_at_one() -> None:
    logits, _ = draw(1, 3)
    assert fit_temperature(logits, logits.argmax(axis=1)) == 1.0


def test_few_images_do_not_make_it_extreme() -> None:
    logits, truth = draw(1, 2)
    found = [fit_temperature(logits[start : start + 30], truth[start : start + 30]) for start in range(0, 3000, 30)]
    assert max(found) < 2
    assert min(found) > 0.5
