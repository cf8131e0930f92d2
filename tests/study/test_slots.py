"""Slots of the machine."""

import os

from lottery.study.slots import Slot, find_slots
from lottery.training import devices


def test_slots_share_the_machine(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert find_slots(None, []) == [Slot(-1, 1)] * 8
    assert find_slots(3, []) == [Slot(-1, 2)] * 3
    assert find_slots(20, []) == [Slot(-1, 1)] * 20
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert find_slots(2, []) == [Slot(-1, 3)] * 2, "as the user says"
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert find_slots(2, []) == [Slot(-1, 4)] * 2


def test_slots_are_gpus_that_torch_can_use(monkeypatch, capsys):
    monkeypatch.setattr(devices, "check_gpu", lambda gpu, cpu: None)
    monkeypatch.setattr(devices, "usable_gpus", lambda: [0, 1])
    assert find_slots(None, [0, 2, 2]) == [Slot(0), Slot(2), Slot(2)]
    assert find_slots(None, None) == [Slot(0), Slot(1)]
    assert find_slots(1, None) == [Slot(0)] and find_slots(3, None) == [Slot(0), Slot(1)]
    assert find_slots(2, [0, 2, 2]) == [Slot(0), Slot(2)]
    monkeypatch.setattr(devices, "usable_gpus", lambda: [])
    monkeypatch.setattr(devices, "why_gpu_is_unused", lambda: "its driver is too old")
    assert find_slots(2, None) == find_slots(2, []) and len(find_slots(2, [])) == 2
    assert "the runs compute on the CPU: its driver is too old" in capsys.readouterr().out
