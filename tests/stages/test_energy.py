"""The energy stage: banks from any file, profiles against projections by hand, the theory, refusals."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.data import load_dataset
from lcstool.energy import PatchBasis, open_basis, pearson
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec, build_model, load_model
from lcstool.randomness import stream
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.result import EnergyResult
from lcstool.stages.energy.stage import energy
from lcstool.weights.grid import sampled_units

Train = Callable[..., Any]


def by_hand(patches: Tensor, basis: PatchBasis) -> Tensor:
    """Root mean square of every patch's inner product with each component."""
    squares = torch.zeros(basis.num_components, dtype=torch.float64)
    flat = patches.reshape(-1, basis.num_components).double()
    for row in flat:
        for index in range(basis.num_components):
            squares[index] += float((row * basis.eigenvectors_DD[index]).sum()) ** 2
    return (squares / len(flat)).sqrt()


def test_a_convolution_is_measured_as_by_hand(s_conv: Path, measured: Callable[..., EnergyResult]) -> None:
    result = measured(s_conv)
    (bank,) = result.banks
    filters = open_checkpoint(s_conv)["layer1.weight"]
    assert result.basis is not None
    assert result.basis.kernel_size == (9, 9)
    assert torch.allclose(bank.profile.energy_D, by_hand(filters, result.basis), atol=1e-12)
    initial = build_model(
        ModelSpec(arch="s-conv", image=(16, 16), channels=3, classes=4, alpha=4), stream(0, "init")
    ).state_dict()["layer1.weight"]
    assert bank.initial_r == pytest.approx(
        pearson(bank.profile.energy_D, by_hand(initial, result.basis)).item(), abs=1e-12
    )
    assert result.correlation_RR.item() == pytest.approx(1)
    subtracted = measured(s_conv, subtract_initial=True).banks[0]
    assert torch.allclose(subtracted.profile.energy_D, by_hand(filters - initial, result.basis), atol=1e-9)


def test_a_dense_layer_is_measured_by_its_patches(
    run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path, measured: Callable[..., EnergyResult]
) -> None:
    run_train(tiny_config(arch="s-fc", alpha=1), "fc.safetensors")
    result = measured(tmp_path / "fc.safetensors", kernel_size=5, units=7)
    (bank,) = result.banks
    weight = open_checkpoint(tmp_path / "fc.safetensors")["layer1.weight"].view(-1, 3, 16, 16)
    chosen = weight[sampled_units(64, 7)]
    patches = chosen.unfold(2, 5, 1).unfold(3, 5, 1).permute(0, 2, 3, 1, 4, 5)
    assert result.basis is not None
    assert torch.allclose(bank.profile.energy_D, by_hand(patches, result.basis), atol=1e-12)
    assert bank.positions_PQD is not None
    assert bank.positions_PQD.shape == (12, 12, 75)
    assert torch.allclose(bank.positions_PQD[3, 4], by_hand(patches[:, 3, 4], result.basis), atol=1e-12)
    assert (bank.profile.num_filters, bank.num_units) == (7, 64)


def test_a_convolution_and_its_local_embedding_have_one_profile(
    s_conv: Path, tmp_path: Path, measured: Callable[..., EnergyResult]
) -> None:
    embed(EmbedConfig(file=str(s_conv), to="local"), str(tmp_path / "local.safetensors"))
    result = measured(s_conv, tmp_path / "local.safetensors")
    conv, local = (bank.profile.energy_D for bank in result.banks)
    assert torch.allclose(conv, local, atol=1e-12)
    assert result.banks[1].kind == "local"
    assert result.banks[1].initial_r is None  # an embedded network did not begin from a seed


def test_permuted_pixels_are_put_back(
    run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path, measured: Callable[..., EnergyResult]
) -> None:
    run_train(tiny_config(arch="s-fc", alpha=1, permute_pixels=3, epochs=1), "p.safetensors")
    bank = measured(tmp_path / "p.safetensors", kernel_size=3, units=0).banks[0]
    order = torch.randperm(256, generator=torch.Generator().manual_seed(3))
    weight = open_checkpoint(tmp_path / "p.safetensors")["layer1.weight"].view(-1, 3, 256)
    image = torch.empty_like(weight)
    image[:, :, order] = weight
    patches = image.view(-1, 3, 16, 16).unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5)
    basis = measured(kernel_size=3).basis
    assert basis is not None
    assert torch.allclose(bank.profile.energy_D, (basis.project(patches.reshape(-1, 27)) ** 2).mean(0).sqrt())


def test_any_state_dict_by_shape(tmp_path: Path, measured: Callable[..., EnergyResult]) -> None:
    tensors = {
        "aux.weight": torch.randn(4, 8, 3, 3), "features.0.weight": torch.randn(6, 3, 3, 3),
        "features.10.weight": torch.randn(6, 6, 3, 3), "fc.weight": torch.randn(5, 6),
    }  # fmt: skip
    save_file(tensors, tmp_path / "foreign.safetensors")
    bank = measured(tmp_path / "foreign.safetensors").banks[0]
    assert bank.layer == "features.0"
    with pytest.raises(
        BadInputError, match=r"has no layer 'stem'; it has aux, fc, features\.0, features\.10"
    ):
        measured(tmp_path / "foreign.safetensors", layer="stem")
    save_file({"fc.weight": torch.randn(5, 6)}, tmp_path / "none.safetensors")
    with pytest.raises(BadInputError, match="no layer looks like a first layer on 3-channel images"):
        measured(tmp_path / "none.safetensors")


def test_profiles_of_different_bases_are_refused(
    s_conv: Path, tmp_path: Path, measured: Callable[..., EnergyResult], make_npz: Callable[..., Path]
) -> None:
    other = make_npz(tmp_path / "other.npz", seed=9)
    one = measured(s_conv, out=tmp_path / "a.safetensors")
    measured(s_conv, out=tmp_path / "b.safetensors", dataset=f"npz:{other}")
    again = measured(tmp_path / "a.safetensors", s_conv)
    assert again.correlation_RR[0, 1].item() == pytest.approx(1)
    assert torch.equal(again.banks[0].profile.energy_D, one.banks[0].profile.energy_D)
    with pytest.raises(BadInputError, match="different bases"):
        measured(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    save_file({"conv.weight": torch.randn(6, 3, 3, 3)}, tmp_path / "small.safetensors")
    with pytest.raises(BadInputError, match=r"3x3 filters.*9x9"):
        measured(s_conv, tmp_path / "small.safetensors")


def test_a_basis_is_kept_and_used_again(
    s_conv: Path, tmp_path: Path, measured: Callable[..., EnergyResult]
) -> None:
    first = measured(s_conv, basis_out=tmp_path / "basis.safetensors")
    basis = open_basis(tmp_path / "basis.safetensors")
    assert first.basis is not None
    assert basis.digest == first.basis.digest
    second = measured(s_conv, basis=str(tmp_path / "basis.safetensors"))
    assert torch.equal(second.banks[0].profile.energy_D, first.banks[0].profile.energy_D)
    entry = open_checkpoint(tmp_path / "basis.safetensors").require_kind("basis").history[-1]
    assert entry["stage"] == "energy"
    raw, channel = first.basis, measured(s_conv, pixels="channel").basis
    assert channel is not None
    assert channel.digest != raw.digest
    assert channel.pixels.std != (1.0, 1.0, 1.0)


def test_the_theory_follows_a_trained_linear_cnn(
    run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path, measured: Callable[..., EnergyResult]
) -> None:
    config = tiny_config(
        arch="linear-cnn", alpha=5, optim="sgd", loss="mse", lr=0.2, schedule="constant", epochs=12, batch_size=64,
        normalize="none", classes=("0", "2"), precision="fp64",
    )  # fmt: skip
    run_train(config, "linear.safetensors")
    result = measured(
        tmp_path / "linear.safetensors", classes=("0", "2"), theory="linear-gd", steps=12, lr=0.2, fit=True
    )
    assert result.theory is not None
    (comparison,) = result.theory.comparisons
    assert comparison.energy_D is not None
    assert torch.allclose(comparison.energy_D, result.banks[0].profile.energy_D, atol=1e-8)
    assert comparison.pearson == pytest.approx(1, abs=1e-10)
    assert comparison.fit is not None
    assert comparison.fit.steps == pytest.approx(12, rel=1e-2)
    document = json.dumps(result.to_json(), allow_nan=False)
    assert document.startswith('{"schema": "lcstool.energy/1"')
    assert '"linear-gd"' in document
    found = json.loads(document)["theory"]["banks"][0]
    assert found["energy"] == pytest.approx(result.banks[0].profile.energy_D.tolist(), abs=1e-8)
    assert found["fit"]["energy"] == pytest.approx(comparison.fit.energy_D.tolist(), abs=1e-12)


def test_the_theory_needs_two_classes_where_labels_matter(measured: Callable[..., EnergyResult]) -> None:
    with pytest.raises(BadInputError, match="4 classes"):
        measured(kernel_size=3, theory="optimal")
    result = measured(kernel_size=3, theory="random-labels", steps=50)
    assert result.theory is not None
    assert result.theory.energy_D is not None
    assert result.theory.sigma == pytest.approx(1 / math.sqrt(81))
    assert measured(kernel_size=3, theory="optimal", classes=("0,1",)).theory is not None
    patches = measured(kernel_size=3, theory="patches", steps=50, sigma=0.0)
    assert patches.theory is not None
    assert patches.theory.energy_D is not None
    assert patches.basis is not None
    rate, values = 2 * 0.01 / patches.theory.width, patches.basis.eigenvalues_D
    expected = (1 - (1 - rate * values) ** 50) / (2 * (64 * values).sqrt())
    assert torch.allclose(patches.theory.energy_D, expected)


def test_label_correlations_are_pearsons(measured: Callable[..., EnergyResult], tiny_npz: Path) -> None:
    result = measured(kernel_size=3, label_correlation=True)
    assert result.labels_LD is not None
    assert result.basis is not None
    dataset = load_dataset(f"npz:{tiny_npz}")
    images = dataset.train.images.double() / 255
    means = images.unfold(2, 3, 1).unfold(3, 3, 1).mean(dim=(2, 3)).flatten(1)
    projections = means @ result.basis.eigenvectors_DD[4]
    indicator = (dataset.train.labels == 2).double()
    expected = torch.corrcoef(torch.stack([projections, indicator]))[0, 1]
    assert result.labels_LD[2, 4].item() == pytest.approx(expected.item(), abs=1e-10)


def test_a_folder_is_streamed(tmp_path: Path) -> None:
    """The basis of images read from files is that of the same images in memory."""
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for index in range(3):
                pixels = torch.randint(256, (20, 24, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(tmp_path / "images" / split / name / f"{index}.png")
    config = EnergyConfig(dataset=f"folder:{tmp_path / 'images'}", kernel_size=4)
    result = energy(config)
    images = load_dataset(f"folder:{tmp_path / 'images'}").train.images
    assert result.basis is not None
    assert result.basis.digest == PatchBasis.of([images], (4, 4)).digest
    assert result.basis.moments.num_images == 6


def test_networks_with_other_history_have_no_initial_weights(
    s_conv: Path,
    run_train: Train,
    tiny_config: Callable[..., Any],
    tmp_path: Path,
    measured: Callable[..., EnergyResult],
) -> None:
    run_train(tiny_config(init=str(s_conv), epochs=1), "on.safetensors")
    bank = measured(tmp_path / "on.safetensors").banks[0]
    assert bank.initial_r is not None  # trained on from the first seed
    save_file(dict(load_model(open_checkpoint(s_conv)).state_dict()), tmp_path / "bare.safetensors")
    assert measured(tmp_path / "bare.safetensors").banks[0].initial_r is None
    with pytest.raises(BadInputError, match="does not give the initial filters"):
        measured(tmp_path / "bare.safetensors", subtract_initial=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": ()}, {"kernel_size": 0}, {"image_size": "x"}, {"units": -1}, {"draws": 19}, {"steps": -1.0},
        {"lr": 0.0}, {"sigma": -1.0}, {"seed": -1}, {"theory": "linear-gd"}, {"theory": "magic", "steps": 1.0},
        {"fit": True}, {"fit": True, "theory": "optimal"}, {"normalise": "rows"}, {"pixels": "hsv"},
        {"loss": "hinge"}, {"width": 0}, {"dataset": "nothing"}, {"files": ("-", "-")},
        {"files": ("-",), "basis": "-"}, {"steps": 1.0}, {"lr": 0.1}, {"sigma": 1.0}, {"width": 3}, {"loss": "sum"},
        {"theory": "optimal", "steps": 3.0}, {"basis": "b", "classes": ("0",)},
        {"files": (), "basis": "b", "kernel_size": 3},
    ],
)  # fmt: skip
def test_wrong_configurations(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        EnergyConfig(**({"files": ("a",)} | wrong))
