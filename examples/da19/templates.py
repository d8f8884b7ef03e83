"""Whether units of the first layer are templates of single images.

The change that SGD makes to a unit is a weighted sum of the images, so it looks like a picture in any case. In a
silhouette one image stands out: weights agree with it better than mixtures of many images do with theirs.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from matrix import FirstLayer
from recipe import trained
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.images import images_of, input_map
from lcstool.models import ModelSpec

# Shape suffixes: as in matrix.py, without padding; N images, M mixtures, D pixels and colours that count.

NUM_MIXTURES = 200
_BLOCK = 5000  # images at a time


@dataclass(frozen=True)
class Templates:
    """The training images of a run, as its network sees them, where its unit at the top left is off-local."""

    images_ND: Tensor
    mask_CHW: Tensor

    @staticmethod
    def of(path: Path, dataset: str, layer: FirstLayer) -> "Templates":
        """The images that the network in this file was trained on."""
        header = open_checkpoint(str(path)).require_kind("model")
        spec, entry = ModelSpec.from_json(header.model or {}, str(path)), trained(path)
        size, seed = entry["config"]["train_size"], entry.get("seed", 0)
        split = images_of(
            dataset, None, spec, header, str(path), test=False, train_size=size, seed=seed
        ).dataset.train
        prepare = input_map(header.input, spec, str(path), torch.device("cpu"), torch.float32)
        mask_CHW = layer.off_local_LCHW[layer.top_left]
        inside = mask_CHW[:, layer.inside_HW].view(spec.channels, *spec.image)
        images = [prepare(images).float()[:, inside] for images in split.images.split(_BLOCK)]
        return Templates(_normal(torch.cat(images)), mask_CHW)

    def agreement(self, weight_OLCHW: Tensor, position: int) -> float:
        """The correlation of a channel's weights with the image that they agree with best, median over channels."""
        return float(self._best(weight_OLCHW[:, position][:, self.mask_CHW]).median())

    def of_noise(self) -> float:
        """The same for independent random weights."""
        generator = torch.Generator().manual_seed(0)
        return float(
            self._best(torch.randn(NUM_MIXTURES, self.images_ND.shape[1], generator=generator)).median()
        )

    def of_mixtures(self) -> float:
        """The same for random mixtures of all images; 95 of 100 lie below."""
        generator = torch.Generator().manual_seed(0)
        share_MN = torch.randn(NUM_MIXTURES, len(self.images_ND), generator=generator)
        return float(self._best(share_MN @ self.images_ND).quantile(0.95))

    def _best(self, weight_OD: Tensor) -> Tensor:
        alive_OD = weight_OD[weight_OD.abs().sum(dim=1) > 0]
        if not len(alive_OD):
            return torch.zeros(1)
        best_O: Tensor = (_normal(alive_OD) @ self.images_ND.T).abs().amax(dim=1)
        return best_O


def _normal(rows: Tensor) -> Tensor:
    """Each row less its mean, divided by its norm."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    normal: Tensor = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return normal
