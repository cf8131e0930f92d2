"""A directory of a user's networks."""

import sys

import pytest

NETS = """
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * 32 * 32, num_classes), nn.BatchNorm1d(num_classes))

def five_pixels(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

class Looks(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(3 * 32 * 32, num_classes)
    def forward(self, x):
        return super().forward(nn.functional.dropout(x.flatten(1))) * float(x.max())

def mismatched(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

def map_of_logits(num_classes):
    return nn.Conv2d(3, num_classes, 1)

def pairs(num_classes):
    return nn.Sequential(nn.Flatten(1, 2), nn.LSTM(32, num_classes))

class Viewing(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 30 * 30, num_classes)
    def forward(self, x):
        return self.fc(self.conv(x).view(len(x), -1))

def lazy_buffers(num_classes):
    return nn.Sequential(nn.LazyBatchNorm2d(affine=False), nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))

def number(num_classes):
    return 7

def failing(num_classes):
    raise RuntimeError("out of ideas\\nsecond line")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory that holds the user's modules."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "broken.py").write_text("import there_is_no_such_library")
    (tmp_path / "faulty.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in "nets", "broken", "faulty":
        sys.modules.pop(name, None)
