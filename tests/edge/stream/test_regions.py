from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.errors import SourceError
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream.frame_result import columns, to_row
from catsdogs_edge.stream.pipeline import FrameClassifier
from catsdogs_edge.stream.regions import Region
from tests.edge.conftest import BLUE, GREY, RED, plain


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> RgbImage:
    return np.concatenate([plain(left, 480, 320), plain(right, 480, 320)], axis=1)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("0,0,1,1", (0, 0, 640, 480)),
        ("0.5,.25,0.5,0.5", (320, 120, 640, 360)),
        ("10,20,30,40", (10, 20, 40, 60)),
        ("flap = 0,0,2,2", (0, 0, 2, 2)),
    ],
)
def test_pixels_and_shares(text: str, box: tuple[int, int, int, int]) -> None:
    region = Region.parse(text.replace(" = ", "="))
    assert region.box(640, 480) == box
    assert region.crop(plain(RED, 480, 640)).shape == (box[3] - box[1], box[2] - box[0], 3)
    assert Region.parse(region.describe()) == region


@pytest.mark.parametrize(
    "text", ["", "0,0,1", "0,0,0,1", "1,2,3,4,5", "a,0,0,1", "-1,0,5,5", "0.5,0,0.6,1", "1.5,0,20,20", "x=y=0,0,1,1"]
)
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no region|reaches beyond|parts of pixels"):
        Region.parse(text)


def test_several_need_names_of_their_own() -> None:
    assert [region.name for region in Region.parse_all(["a=0,0,1,1", "b=0,0,1,1"])] == ["a", "b"]
    assert Region.parse_all(["0,0,1,1"])[0].name == ""
    for texts in (["0,0,1,1", "a=0,0,1,1"], ["a=0,0,1,1", "a=0,0,9,9"]):
        with pytest.raises(ValueError, match="several regions need different names"):
            Region.parse_all(texts)


def test_a_region_that_is_not_in_the_frame_is_an_error(tiny: Path) -> None:
    frames = FrameClassifier(Classifier.load(tiny), regions=[Region.parse("flap=600,0,100,100")])
    with pytest.raises(SourceError, match=r"the region flap=600,0,100,100 does not lie in the frames, .* 640x480"):
        frames.classify(Frame(number=0, rgb=plain(RED, 480, 640)))


def test_each_region_has_its_own_answer_and_the_frame_that_of_the_first_animal(familiar: Path) -> None:
    regions = Region.parse_all(["left=0,0,0.5,1", "right=0.5,0,0.5,1"])
    frames = FrameClassifier(Classifier.load(familiar), smoothing=0, regions=regions)
    result = frames.classify(Frame(number=0, rgb=halves(GREY, BLUE)))
    assert [(part.region.name if part.region else "", part.label) for part in result.each()] == [
        ("left", "neither"), ("right", "dog"),
    ]  # fmt: skip
    assert (result.label, result.region) == ("dog", regions[1])
    nothing = frames.classify(Frame(number=1, rgb=halves(GREY, GREY)))
    assert (nothing.label, nothing.region) == ("neither", regions[0])
    lost = frames.classify(Frame(number=2, rgb=None, state=State.LOST, error="gone"))
    assert [part.label for part in lost.each()] == ["", ""]
    row = to_row(result.regions[0], ("cat", "dog"))
    assert row["region"] == "left"
    assert "source" not in row
    assert {"region", *columns(())} == set(columns((), regions=True))


def test_one_region_is_classified_as_if_there_were_nothing_else(tiny: Path) -> None:
    frame = Frame(number=0, rgb=halves(RED, BLUE))
    classifier = Classifier.load(tiny)
    whole = FrameClassifier(classifier, regions=[Region.parse("320,0,320,480")]).classify(frame)
    alone = FrameClassifier(classifier).classify(Frame(number=0, rgb=plain(BLUE, 480, 320)))
    assert whole.prediction == alone.prediction


def test_regions_are_drawn_with_their_answers(familiar: Path) -> None:
    regions = Region.parse_all(["left=0,0.1,0.5,0.6", "right=0.5,0.1,0.5,0.6"])
    result = FrameClassifier(Classifier.load(familiar), regions=regions).classify(
        Frame(number=0, rgb=halves(GREY, BLUE))
    )
    image = Annotator("CPUExecutionProvider").annotate(result)
    orange = np.all(image == (0, 159, 230), axis=2)
    left, top, right, bottom = regions[1].box(640, 480)
    assert orange[bottom - 1, left:right].all()
    assert orange[top + 40 : bottom, left].all()  # below the name
    assert not orange[60:300, 10:300].any()  # where there is no animal, the edge is calm
