import signal
import threading

import pytest

from catsdogs_edge.runtime.signals import holding_signals


def test_a_signal_comes_when_the_block_has_ended() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with holding_signals():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")
        done.append("never")
    assert done == ["the rest"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # as before


def test_a_second_signal_comes_at_once() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), holding_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("never")
    assert not done


def test_an_error_in_the_block_is_not_lost() -> None:
    with pytest.raises(ValueError, match="the disk is full"), holding_signals():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the disk is full")


def test_other_threads_get_no_signals_and_go_on() -> None:
    done = []

    def work() -> None:
        with holding_signals():
            done.append("work")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["work"]
