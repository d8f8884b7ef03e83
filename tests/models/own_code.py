"""Networks of one's own, as a test writes them into a folder and names them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lcstool.models import permission

#: The module `mynet`: a small network with layers and habits that ours do not have.
SOURCE = '''
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

print("a module of one's own was imported")

class Net(nn.Module):
    def __init__(self, width=4, norm="", drop=0.0, num_classes=3):
        super().__init__()
        conv = nn.Conv2d(3, width, 3, padding=1)
        apply = {"new": parametrizations.weight_norm, "old": weight_norm, "spectral": parametrizations.spectral_norm,
                 "old spectral": spectral_norm, "orthogonal": parametrizations.orthogonal, "": lambda conv: conv}
        self.conv = apply[norm](conv)
        self.register_buffer("fixed", torch.rand(width), persistent=False)
        self.scale = torch.tensor([1.0, 2.0]).repeat(width // 2)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(drop)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        x = F.relu(self.conv(x)).mean((2, 3)) * self.scale + self.fixed
        return self.head(self.drop(self.norm(x)))

class Prefixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.ModuleDict({"net": Net()})

    def forward(self, x):
        return self.model["net"](x)

class Wide(nn.Sequential):
    """Its number of outputs has another name than num_classes."""
    def __init__(self, outputs=5):
        super().__init__(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(outputs))

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(12, 12), nn.Linear(12, 12)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.one(x.flatten(1)[:, :12]))

class Attentive(nn.Module):
    def __init__(self, dropout=0.1):
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, dropout=dropout, batch_first=True)
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

class Functional(Net):
    def forward(self, x):
        return F.dropout(super().forward(x), training=self.training)

class Failing(Net):
    def forward(self, x):
        raise KeyError("a key of its own\\nand more")

def unbuildable():
    return {}["nothing"]

def leaving():
    raise SystemExit("usage: mynet")

def no_network():
    return 7

network = Net()
'''


@contextmanager
def importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`mynet` lies in the current folder, has not been imported, and nothing is permitted yet."""
    (folder / "mynet.py").write_text(SOURCE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(permission, "_named", set())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.modules.pop("mynet", None)
    yield
    sys.modules.pop("mynet", None)
