import errno
import subprocess
import time
from pathlib import Path

import pytest

from catsdogs_edge.cam.events import Events, Trigger
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.errors import DataError
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.smoothing import SmoothedPrediction

CLASSES = ("cat", "dog")


def seen(label: str, second: float) -> FrameResult:
    return FrameResult(
        frame=Frame(number=int(second * 10), rgb=None, position=second),
        prediction=Prediction(label, 0.9, {"cat": 0.9, "dog": 0.1}),
        smoothed=SmoothedPrediction(label, 0.9),
        fps=10.0,
    )


def silence(second: float) -> FrameResult:
    return FrameResult(frame=Frame(number=0, rgb=None, state=State.STALE, position=second, error="no frame"), fps=0.0)


def test_several_events_with_units() -> None:
    assert Trigger.parse_all("cat:2s, dog:500ms,cat:1m,dog:3") == (
        Trigger("cat", 2), Trigger("dog", 0.5), Trigger("cat", 60), Trigger("dog", 3)
    )  # fmt: skip


@pytest.mark.parametrize("text", ["cat", "cat:", ":2s", "cat:2h", "cat:-1s", "", "cat:2s,"])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no event, expected LABEL:TIME"):
        Trigger.parse_all(text)


def test_a_label_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(DataError, match="the model knows no 'bird', only cat, dog"):
        Events([Trigger("bird", 1)], "true", CLASSES)


def run(tmp_path: Path, results: list[FrameResult], trigger: str) -> list[str]:
    """Returns what the command wrote, a line for each time."""
    out = tmp_path / "out"
    command = f'printf "%s %s %s\\n" "$CATSDOGS_LABEL" "$CATSDOGS_PROBABILITY" "$CATSDOGS_FRAME" >> "{out}"'
    events = Events(Trigger.parse_all(trigger), command, CLASSES)
    for result in results:
        assert events.write(result)
        if events._running:
            events._running.wait(10)
    events.close()
    return out.read_text().splitlines() if out.exists() else []


def test_it_runs_once_each_time_that_a_label_has_lasted(tmp_path: Path) -> None:
    cats = [seen("cat", number / 10) for number in range(40)]
    dogs = [seen("dog", 4 + number / 10) for number in range(5)]
    more = [seen("cat", 5 + number / 10) for number in range(30)]
    assert run(tmp_path, cats + dogs + more, "cat:2s") == ["cat 0.900000 20", "cat 0.900000 70"]


def test_several_labels_each_have_their_time(tmp_path: Path) -> None:
    dogs = [seen("dog", number / 10) for number in range(20)]
    cats = [seen("cat", 2 + number / 10) for number in range(20)]
    lines = run(tmp_path, dogs + cats, "cat:1s,dog:0s")
    assert [line.split()[0] for line in lines] == ["dog", "cat"]


def test_frames_that_were_paused_break_the_time(tmp_path: Path) -> None:
    """Of frames on standard input, nothing says that they are stale."""
    assert run(tmp_path, [seen("cat", second) for second in (0, 0.04, 600)], "cat:2s") == []


def test_a_silent_camera_breaks_the_time(tmp_path: Path) -> None:
    cats = [seen("cat", number / 10) for number in range(15)]
    more = [seen("cat", 1.6 + number / 10) for number in range(15)]
    assert run(tmp_path, [*cats, silence(1.5), *more], "cat:2s") == []


def test_while_the_command_runs_the_next_event_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events = Events([Trigger("cat", 0)], f'sleep 0.5; echo done >> "{tmp_path}/out"', CLASSES)
    for label in ("cat", "dog", "cat"):
        events.write(seen(label, 0))
    start = time.monotonic()
    events.close()
    assert time.monotonic() - start < 5
    assert (tmp_path / "out").read_text() == "done\n"
    assert "left out" in caplog.text


def test_a_command_that_cannot_be_started_ends_no_camera(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    events = Events(Trigger.parse_all("cat:0s"), "true", CLASSES)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert events.write(seen("cat", 0))
    events.close()
    assert "The command for 'cat' cannot be started: " in caplog.text


def test_a_command_that_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    events = Events([Trigger("cat", 0)], "exit 3", CLASSES)
    events.write(seen("cat", 0))
    events.close()
    assert "exit code 3" in caplog.text


def test_what_is_seen_is_no_part_of_the_command(tmp_path: Path) -> None:
    """A label such as `$(reboot)` reaches the command in the environment only."""
    evil = f"$(touch {tmp_path}/evil)"
    events = Events([Trigger(evil, 0)], f'echo "$CATSDOGS_LABEL" > "{tmp_path}/out"', (evil, "dog"))
    events.write(seen(evil, 0))
    events.close()
    assert (tmp_path / "out").read_text() == f"{evil}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_command_that_cannot_run_is_said_at_the_start(tmp_path: Path) -> None:
    script = tmp_path / "open-the-flap"
    triggers = Trigger.parse_all("cat:1s")
    with pytest.raises(DataError, match="the command of --on, is not there"):
        Events(triggers, f"{script} now", CLASSES)
    script.write_text("#!/bin/sh\n")
    with pytest.raises(DataError, match=r"may not be run: chmod \+x"):
        Events(triggers, str(script), CLASSES)
    script.chmod(0o755)
    Events(triggers, str(script), CLASSES).close()
    for command in ("--jsonl", " "):  # the command was forgotten
        with pytest.raises(DataError, match="is no command: --on takes an event and a command"):
            Events(triggers, command, CLASSES)
