"""Signals: the first one ends a run, but never in the middle of a write."""

import os
import signal

import pytest

from lottery.checkpointing.signals import Interrupted, interruptible, shielded


def test_what_must_be_whole_is_not_interrupted():
    done = []
    with pytest.raises(Interrupted), interruptible():
        with shielded(), shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inner")
        done.append("after")
    assert done == ["inner"]


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
