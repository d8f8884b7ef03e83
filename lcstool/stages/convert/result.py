"""What a conversion read and wrote."""

from dataclasses import dataclass
from typing import Any

from lcstool.weights import Roles


@dataclass(frozen=True, kw_only=True)
class ConvertResult:
    """One conversion.

    Attributes:
        where: The file that was read.
        out: The file that was written.
        arch: The network's name; None where the file names none.
        num_tensors: Tensors written.
        composed: For each weight that was put together, the tensors that it was made of.
        roles: What each tensor of the file that was read is.
    """

    where: str
    out: str
    arch: str | None
    num_tensors: int
    composed: dict[str, tuple[str, ...]]
    roles: Roles

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.convert/1",
            "file": self.where,
            "out": self.out,
            "arch": self.arch,
            "num_tensors": self.num_tensors,
            "composed": [{"tensor": name, "parts": list(parts)} for name, parts in self.composed.items()],
            "layers": [{"layer": name, "tensors": list(parts)} for name, parts in self.roles.layers.items()],
            "norms": [{"norm": name, "tensors": list(parts)} for name, parts in self.roles.norms.items()],
            "other": [{"tensor": name, "kind": kind} for name, kind in self.roles.other.items()],
        }
