"""Parameter counts of every architecture, counted on the module itself, which is built without storage."""

from collections.abc import Sequence
from dataclasses import replace

from lcstool.models import ARCHITECTURES, ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import count_parameters, weight_layers
from lcstool.stages.info.result import ArchitectureSize

_PAPER_ALPHAS = {"d-conv": 15, "d-local": 15, "d-fc": 15, "resnet18": 64, "linear-cnn": 64}
_PAPER_ALPHAS |= {arch: 64 for arch in ARCHITECTURES if arch.startswith("vgg")}


def scaling_table(
    alphas: Sequence[int] = (), images: Sequence[int] = (32,), channels: int = 3, classes: int = 10
) -> tuple[ArchitectureSize, ...]:
    """Count the parameters of every architecture.

    Args:
        alphas: Base channels; none takes those of the papers' tables.
        images: Sides in pixels; too small ones are left out for the architectures they do not fit.
        channels: Of the images.
        classes: Of the data set; architectures made for two classes have two.

    Ref:
        Neyshabur 2020 (arXiv 2007.13657), Fig. 1 (right), Tables 3 and 4.
        Departs: Table 3 prints 3.42 M for D-LOCAL at alpha 15; its own formula, summed rightly, gives 11.71 M.
    """
    rows = []
    for arch, entry in ARCHITECTURES.items():
        for image in images:
            if image < entry.smallest_image:
                continue
            for alpha in alphas or (_PAPER_ALPHAS.get(arch, 150),):
                spec = ModelSpec(
                    arch=arch,
                    image=(image, image),
                    channels=channels,
                    classes=entry.num_classes or classes,
                    alpha=alpha,
                )
                model = empty_model(spec)
                rows.append(
                    ArchitectureSize(
                        arch=arch,
                        alpha=alpha,
                        image_pixels=image,
                        num_parameters=count_parameters(model),
                        fc_equivalent=_fc_equivalent(entry.fc_counterpart, spec, classes),
                        layers={
                            name: count_parameters(model.get_submodule(name)) for name in weight_layers(model)
                        },
                    )
                )
    return tuple(rows)


def _fc_equivalent(counterpart: str | None, spec: ModelSpec, classes: int) -> int | None:
    """Parameters of the fully-connected counterpart at the same sizes."""
    if counterpart is None:
        return None
    return count_parameters(empty_model(replace(spec, arch=counterpart, classes=classes)))
