"""What lcstool writes into a file beside its tensors: kind, architecture, geometry and history.

It is one JSON object under the metadata key `lcstool`, canonical (sorted keys, no spaces), without clocks, host names,
user names or folders, so that equal runs give equal bytes.

- format: the version of this description, an integer. Readers refuse a newer one.
- kind: `model`, `dataset`, or what a stage declares (`path`, `profile`, `stats`, ...).
- model: the architecture spec {"arch": name, "args": {...}}: enough to rebuild the module.
- input: how images become the network's input: size, normalisation, pixel permutation, classes.
- layers: the geometry of each convolution, and of each local or dense layer in a convolution's place.
- storage: for each weight that is stored compressed, the layout and the weight's shape.
- history: one entry a stage, oldest first: stage, config, seed, versions, inputs (content digests), metrics.
- state: only in the file of an unfinished run: what is needed to resume it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lcstool.checkpoint.layout import parse_json
from lcstool.errors import BadInputError

FORMAT_VERSION = 1
METADATA_KEY = "lcstool"

Json = dict[str, Any]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: the same value always gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The description of a file; see the module's docstring for each field."""

    kind: str
    model: Json | None = None
    input: Json | None = None
    layers: Json = field(default_factory=dict)
    storage: Json = field(default_factory=dict)
    history: tuple[Json, ...] = ()
    state: Json | None = None

    def to_metadata(self) -> dict[str, str]:
        """The safetensors metadata that carries this header."""
        fields: Json = {"format": FORMAT_VERSION, "kind": self.kind, "history": list(self.history)}
        for name in ("model", "input", "state"):
            if getattr(self, name) is not None:
                fields[name] = getattr(self, name)
        for name in ("layers", "storage"):
            if getattr(self, name):
                fields[name] = getattr(self, name)
        return {METADATA_KEY: canonical_json(fields)}

    @staticmethod
    def from_metadata(metadata: Mapping[str, str], where: str) -> "Header | None":
        """Parse and check the header of the file called `where`; None for a file lcstool did not write."""
        if METADATA_KEY not in metadata:
            return None
        fields = parse_json(metadata[METADATA_KEY], f"the lcstool header of {where}")
        if not isinstance(fields, dict):
            raise BadInputError(f"the lcstool header of {where} is not a JSON object")
        version = fields.pop("format", None)
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            newer = type(version) is int and version > FORMAT_VERSION
            raise BadInputError(
                f"{where} has lcstool format {str(version)[:40]!r}; this lcstool reads up to {FORMAT_VERSION}",
                hint="install a newer lcstool" if newer else None,
            )
        kinds: dict[str, type] = {
            "kind": str, "model": dict, "input": dict, "layers": dict, "storage": dict, "history": list, "state": dict,
        }  # fmt: skip
        for name, value in fields.items():
            if name not in kinds:
                raise BadInputError(f"the lcstool header of {where} has an unknown key {name[:40]!r}")
            if not isinstance(value, kinds[name]):
                raise BadInputError(
                    f"the lcstool header of {where}: {name} should be a {kinds[name].__name__}"
                )
        if "kind" not in fields:
            raise BadInputError(f"the lcstool header of {where} names no kind")
        history = fields.pop("history", [])
        if not all(isinstance(entry, dict) and isinstance(entry.get("stage"), str) for entry in history):
            raise BadInputError(f"the lcstool header of {where}: each history entry should name its stage")
        return Header(history=tuple(history), **fields)
