import signal

import pytest

from catsdogs_train.stages.progress import Progress


class Interrupted:
    """Gets Ctrl-C in its destructor, where Python drops the exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_ends_the_batch() -> None:
    with pytest.raises(KeyboardInterrupt), Progress() as progress:
        callback = progress.callback("epoch 1")
        callback.set_params({"steps": 2})
        callback.on_predict_begin()
        callback.on_predict_batch_end(0)
        Interrupted()
        callback.on_predict_batch_end(1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_the_backend_makes_another_exception_of_is_one() -> None:
    with pytest.raises(KeyboardInterrupt), Progress():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("in a call of the backend") from interrupt


def test_where_interrupts_are_ignored_they_stay_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Progress():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
