"""A user's own network, whose tickets leave."""

NETWORK = """
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(16, num_classes))
"""


def own_arch(folder):
    """What --arch takes for it; its file is written into the folder."""
    file = folder / "own_net.py"
    file.write_text(NETWORK)
    return f"{file}:net"
