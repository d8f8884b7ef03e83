"""Images for the tests of energy profiles, and their basis."""

import pytest
from energy.pictures import smooth_images
from torch import Tensor

from lcstool.energy import Images, PatchBasis


@pytest.fixture(scope="session")
def images_NCHW() -> Tensor:
    return smooth_images()


@pytest.fixture(scope="session")
def basis(images_NCHW: Tensor) -> PatchBasis:
    """Of 3x3 patches of three channels: 27 components."""
    return PatchBasis.of(images_NCHW.split(64), (3, 3), images=Images("pictures", ("0", "2"), "sha256:0"))
