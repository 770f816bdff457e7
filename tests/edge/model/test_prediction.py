import math

import pytest

from catsdogs_edge.classify.resume import JSON_FIELDS
from catsdogs_edge.model.contract import RESERVED, problems_of_classes
from catsdogs_edge.model.prediction import Prediction, percent, prediction_columns
from catsdogs_edge.stream.frame_result import columns


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(1.0, ">99.9%"), (0.99998, ">99.9%"), (0.9994, " 99.9%"), (0.625, " 62.5%"), (0.0, "  0.0%")],
)
def test_what_is_not_certain_is_not_shown_as_that(probability: float, shown: str) -> None:
    assert percent(probability) == shown


def test_an_answer_that_is_no_number_is_a_problem() -> None:
    assert Prediction("cat", 0.5, {"cat": 0.5, "dog": 0.5}, 0.5).problem == ""
    for cat, familiarity in ((math.nan, 0.5), (math.inf, None), (0.5, math.nan)):
        assert Prediction("cat", 0.5, {"cat": cat, "dog": 0.5}, familiarity).problem


def test_a_prediction_prints_as_its_label_and_how_sure_it_is() -> None:
    assert str(Prediction("cat", 0.625, {"cat": 0.625, "dog": 0.375})) == "cat 62.5%"
    assert f"{Prediction('neither', 0.99999, {'cat': 0.5, 'dog': 0.5}, 0.00001)}" == "neither >99.9%"


def test_no_class_has_the_name_of_another_column() -> None:
    every = columns((), several=True, regions=True, motion=True)
    others = {*every, *prediction_columns(()), "path", "error", "sorted_to", "probabilities", *JSON_FIELDS}
    assert others <= RESERVED
    for name in others:
        assert list(problems_of_classes(["cat", name]))
    assert not list(problems_of_classes(["cat", "dog"]))


def test_names_of_classes_are_names_of_folders_on_the_system_that_runs_them() -> None:
    odd = ["C:", "C:x", "a:b", "con", "aux.old", "what?", "dot.", "space "]
    for name in odd:
        assert list(problems_of_classes(["cat", name], "win32"))
        assert not list(problems_of_classes(["cat", name], "linux"))
    for system, same in (("win32", True), ("darwin", True), ("linux", False)):
        assert bool(list(problems_of_classes(["cat", "Cat"], system))) is same
    assert not list(problems_of_classes(["cat", "dog", "console", "Кот"], "win32"))
