import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from catsdogs_edge.runtime import deadline as deadline_module
from catsdogs_edge.runtime.deadline import deadline
from catsdogs_edge.runtime.session import RUN_ERRORS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_module, "_TICK", 0.05)


@pytest.fixture
def session(tiny: Path) -> ort.InferenceSession:
    return ort.InferenceSession(tiny, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, options: ort.RunOptions) -> int:
    (image,) = session.get_inputs()
    return len(session.run(None, {image.name: np.zeros((1, *image.shape[1:]), np.uint8)}, options))


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "deadline"]


def test_what_takes_too_long_is_ended_and_the_rest_goes_on(session: ort.InferenceSession) -> None:
    with deadline(60) as others, deadline(0.1) as options:
        end = time.monotonic() + 20
        while not options.terminate and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(RUN_ERRORS, match="terminate"):
            run(session, options)
        assert not others.terminate
        assert run(session, others)


def test_one_thread_looks_after_all_runs_and_goes(session: ort.InferenceSession) -> None:
    def count(_: int) -> int:
        with deadline(60) as options:
            assert run(session, options)
            return len(watchers())

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(count, range(200))) <= 2  # one may be on its way out
    for thread in watchers():
        thread.join(20)
        assert not thread.is_alive()
    assert count(0) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_looks_after_its_own_runs() -> None:
    with deadline(60), deadline_module._watch._lock:  # as where another thread is in between
        child = os.fork()
        if not child:
            with deadline(60):
                ours = len(deadline_module._watch._running)
            os._exit(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
