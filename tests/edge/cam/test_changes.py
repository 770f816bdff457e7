from catsdogs_edge.cam.changes import ChangeDetector
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.smoothing import SmoothedPrediction


def show(label: str | None = None, state: State = State.LIVE) -> FrameResult:
    smoothed = SmoothedPrediction(label, 0.9) if label else None
    return FrameResult(frame=Frame(number=0, rgb=None, state=state), smoothed=smoothed, fps=0.0)


def changes(results: list[FrameResult]) -> list[str | None]:
    detector = ChangeDetector()
    return [change.name if (change := detector.add(result)) else None for result in results]


def test_a_label_that_stays_is_one_change_and_a_frame_without_one_is_none() -> None:
    assert changes([show("cat"), show("cat"), show(), show("cat"), show("dog")]) == ["cat", None, None, None, "dog"]


def test_until_it_is_live_again_a_source_only_gets_worse() -> None:
    away = [show(state=state) for state in (State.STALE, State.LOST, State.RECONNECTING, State.STALE, State.LOST)]
    assert changes([show("cat"), *away, show("cat")]) == ["cat", "stale", "lost", None, None, None, "cat"]


def test_each_outage_is_a_change_also_where_nothing_was_classified_in_between() -> None:
    away = [show(state=State.STALE), show(state=State.LOST)]
    assert changes([*away, show(), *away]) == ["stale", "lost", None, "stale", "lost"]
