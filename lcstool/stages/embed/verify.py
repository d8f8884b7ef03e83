"""Compare the logits of a network and its embedding before anything is written."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.checkpoint import CsrTensor, StreamedTensor
from lcstool.data.preprocess import Preprocess
from lcstool.errors import BadInputError, CheckFailedError
from lcstool.images import UsedDataset, load_named, trained_on
from lcstool.models import Embedding, ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.embedding.tensors import AnyTensor
from lcstool.models.layers.local import FullyConnected2d, pad_images
from lcstool.randomness import stream
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.source import Source

EXACT_TOLERANCE = 1e-10  # of float64 logits, relative to their spread over the images
ROUNDING = 1e-14  # of float64 sums, relative to the largest logit
FOLDED_TOLERANCE = 1e-4  # folded weights are rounded once to the file's precision
_RANDOM_IMAGES = 8
_REAL_IMAGES = 64


@dataclass(frozen=True)
class Agreement:
    """How far the logits of a network and of its embedding are apart, in float64.

    Attributes:
        max_difference: Largest absolute difference of the logits, by kind of images.
        largest_logit: Largest absolute logit.
        dataset: Of the real images, if any were looked at.
    """

    max_difference: dict[str, float]
    largest_logit: float
    dataset: UsedDataset | None


def verify(
    config: EmbedConfig, source: Source, spec: ModelSpec, embedding: Embedding, tensors: dict[str, AnyTensor]
) -> Agreement:
    """The largest difference of the logits on random and, if given, real images; CheckFailedError if too large."""
    reference = copy.deepcopy(source.model).double().eval()
    streamed = streamed_network(spec, tensors).eval()
    batches = {
        "random": torch.randn(
            _RANDOM_IMAGES, *spec.in_shape, generator=stream(config.seed, "verify")
        ).double()
    }
    used = None
    if config.dataset is not None:
        batches["real"], used = _real_images(config, source)
    tolerance = config.tolerance
    if tolerance is None:
        tolerance = FOLDED_TOLERANCE if embedding.norm == "folded" else EXACT_TOLERANCE
    differences, largest = {}, 0.0
    with torch.no_grad():
        for name, images in batches.items():
            expected = reference(images)
            difference = (streamed(images) - expected).abs().max().item()
            # What the images change in the logits is what the layers do; the rest is mostly the last bias.
            spread = (expected - expected.mean(dim=0)).abs().max().item()
            differences[name], largest = difference, max(largest, expected.abs().max().item())
            if not difference <= tolerance * spread + ROUNDING * largest:
                raise CheckFailedError(
                    f"on {name} images the logits differ by {difference:.3g}, more than {tolerance:g} of their "
                    f"spread over the images, {spread:.3g}; nothing was written",
                    hint="--tolerance sets the limit; if exact arithmetic fails it, please report that",
                )
    return Agreement(differences, largest, used)


def _real_images(config: EmbedConfig, source: Source) -> tuple[Tensor, UsedDataset]:
    """Some test images as the network takes them."""
    known = trained_on(source.header)
    found = load_named(config.dataset, config.data_dir, known, source.spec.image, source.where)
    dataset = found.dataset
    if dataset.in_shape != source.spec.in_shape:
        raise BadInputError(
            f"{dataset.name} has images of shape {list(dataset.in_shape)} (C, H, W), "
            f"{source.where} takes {list(source.spec.in_shape)}"
        )
    fields = source.header.input if source.header is not None else None
    preprocess = (
        Preprocess.from_json(fields, source.spec.channels, source.where)
        if fields
        else Preprocess.of(dataset.train.images, "channel", None)
    )
    prepare = preprocess.on(torch.device("cpu"), source.spec.image)
    return prepare(dataset.test.images[:_REAL_IMAGES]).double(), found.used


class _StreamedDense(nn.Module):
    """A fully-connected layer whose matrix is made block by block at every call, in float64."""

    def __init__(
        self, layer: FullyConnected2d, matrix: StreamedTensor | CsrTensor, bias: Tensor | None
    ) -> None:
        super().__init__()
        self.geometry, self.pads_inputs, self.padding_mode = (
            layer.geometry,
            layer.pads_inputs,
            layer.padding_mode,
        )
        self.matrix, self.bias = matrix, bias

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.pads_inputs:
            x_BCHW = pad_images(x_BCHW, self.geometry.padding, self.padding_mode)
        x_BD = x_BCHW.flatten(1)
        # One result made beforehand: small pieces kept between large temporaries would scatter the heap.
        y_BU = x_BD.new_zeros(len(x_BD), math.prod(self.geometry.out_shape))
        (self._multiply_dense if isinstance(self.matrix, StreamedTensor) else self._multiply_csr)(x_BD, y_BU)
        if self.bias is not None:
            y_BU += self.bias.double()
        return y_BU.view(-1, *self.geometry.out_shape)

    def _multiply_dense(self, x_BD: Tensor, y_BU: Tensor) -> None:
        assert isinstance(self.matrix, StreamedTensor)
        start = 0
        for block in self.matrix.blocks():
            y_BU[:, start : start + len(block)] = x_BD @ block.double().T
            start += len(block)

    def _multiply_csr(self, x_BD: Tensor, y_BU: Tensor) -> None:
        """Channel by channel from the very row starts, columns and values that will be written."""
        assert isinstance(self.matrix, CsrTensor)
        start, rows = 0, self.geometry.out_shape[1] * self.geometry.out_shape[2]
        for columns, values in zip(self.matrix.columns(), self.matrix.values(), strict=True):
            counts = self.matrix.crow[start : start + rows + 1].diff()
            row = torch.repeat_interleave(torch.arange(rows), counts)
            y_BU[:, start : start + rows].index_add_(1, row, x_BD[:, columns] * values.double())
            start += rows


def streamed_network(spec: ModelSpec, tensors: dict[str, AnyTensor]) -> nn.Module:
    """The embedded network in float64, made of the very tensors that will be written; no large one is held whole."""
    model = empty_model(spec)
    plain = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    for name, module in list(model.named_modules()):
        matrix = tensors.get(f"{name}.weight")
        if isinstance(module, FullyConnected2d) and not isinstance(matrix, Tensor | None):
            model.set_submodule(name, _StreamedDense(module, matrix, plain.pop(f"{name}.bias", None)))
    model.load_state_dict(
        {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in plain.items()},
        assign=True,
    )
    return model
