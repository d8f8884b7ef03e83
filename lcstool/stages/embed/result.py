"""What an embedding came to: its layers, and how far its logits are from the source's."""

from dataclasses import asdict, dataclass
from typing import Any

from lcstool.checkpoint import Header
from lcstool.images import UsedDataset
from lcstool.stages.embed.plan import LayerPlan


@dataclass(frozen=True, kw_only=True)
class EmbedResult:
    """A written embedding.

    Attributes:
        out: The file, or `-`.
        header: Its header.
        layers: The embedded layers.
        max_difference: Largest absolute difference of the logits, in float64, by kind of input.
        largest_logit: Largest absolute logit.
        dataset: The real images that were compared, if any were.
    """

    out: str
    header: Header
    layers: tuple[LayerPlan, ...]
    max_difference: dict[str, float]
    largest_logit: float
    dataset: UsedDataset | None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.embed/1",
            "out": self.out,
            "model": self.header.model,
            "layers": [asdict(layer) for layer in self.layers],
            "max_difference": self.max_difference,
            "largest_logit": self.largest_logit,
            "dataset": self.dataset.to_json() if self.dataset else None,
        }
