"""Which images and labels a run sees: chosen classes, random labels, labels of a principal component."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.data import load_dataset
from lcstool.data.dataset import ImageDataset, Split
from lcstool.errors import BadInputError, InterruptedRunError, UsageError
from lcstool.images.cut import Cut, as_trained, first_kernel, with_component_labels
from lcstool.models import ModelSpec
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.stage import interpolate
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.plan import plan
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import prepare

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]


def noise(num_train: int, num_test: int, classes: int, side: int = 8) -> ImageDataset:
    generator = torch.Generator().manual_seed(0)
    splits = [
        Split(
            torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator),
            torch.arange(count) % classes,
        )
        for count in (num_train, num_test)
    ]
    return ImageDataset(
        name="noise",
        train=splits[0],
        test=splits[1],
        class_names=tuple("abcdefghij"[:classes]),
        digest="sha256:0",
    )


def spec_of(dataset: ImageDataset, arch: str = "vgg11") -> ModelSpec:
    return ModelSpec(
        arch=arch,
        image=dataset.in_shape[1:],
        channels=dataset.in_shape[0],
        classes=dataset.num_classes,
        alpha=1,
    )


# --- classes ----------------------------------------------------------------------------------------------


def test_chosen_classes_are_relabelled_in_their_order(tiny_config: Config) -> None:
    whole = load_dataset(tiny_config().dataset)
    found = prepare(tiny_config(classes=("3,1",), val_fraction=0.25))
    dataset = found.dataset
    assert dataset.class_names == ("3", "1")
    assert found.header.model is not None
    assert found.header.model["args"]["classes"] == 2
    assert found.header.input is not None
    assert found.header.input["classes"] == ["3", "1"]
    assert dataset.validation is not None
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (24, 8, 16)
    originals = {bytes(image.flatten().tolist()): int(label) for image, label in
                 zip(torch.cat([whole.train.images, whole.test.images]),
                     torch.cat([whole.train.labels, whole.test.labels]), strict=True)}  # fmt: skip
    for split in (dataset.train, dataset.validation, dataset.test):
        for image, label in zip(split.images, split.labels, strict=True):
            assert originals[bytes(image.flatten().tolist())] == (3, 1)[int(label)]


def test_the_digest_is_of_the_whole_data_set(tiny_config: Config) -> None:
    """So that a later stage knows the images again, whatever a run has cut from them."""
    whole = load_dataset(tiny_config().dataset).digest
    changes = ({}, {"classes": ("0,1",)}, {"train_size": 20}, {"val_fraction": 0.25}, {"labels": "random"})
    assert {prepare(tiny_config(**own)).inputs["dataset"] for own in changes} == {whole}


def test_unknown_and_repeated_classes() -> None:
    dataset = noise(8, 8, 4)
    assert dataset.with_classes(("c,0",)).class_names == ("c", "a")
    assert dataset.with_classes(("c", "a", "3")).class_names == ("c", "a", "d")
    with pytest.raises(UsageError, match="unknown class 'bird'; known: a, b, c, d, or 0 to 3"):
        dataset.with_classes(("a,bird",))
    for wrong in (("4", "1"), ("a", ""), ("-1", "1")):
        with pytest.raises(UsageError, match="unknown class"):
            dataset.with_classes(wrong)
    for wrong in (("a",), ("a,0",), ("b", "1")):
        with pytest.raises(UsageError, match="expected two or more different ones"):
            dataset.with_classes(wrong)


def test_a_plan_is_of_the_classes_kept(tiny_config: Config) -> None:
    found = plan(tiny_config(classes=("0,1",), batch_size=8))
    assert found.spec.classes == 2
    assert found.num_steps == 2 * 32 // 8


# --- random labels ----------------------------------------------------------------------------------------


def test_random_labels_are_uniform_and_know_nothing_of_the_true_ones() -> None:
    dataset = noise(20_000, 40, 4, side=3)
    found = as_trained(Cut(labels="random", val_fraction=0.1), dataset, spec_of(dataset))
    true = as_trained(Cut(val_fraction=0.1), dataset, spec_of(dataset))
    assert found.train.images.equal(true.train.images)
    assert found.test is dataset.test
    assert found.validation is not None
    assert true.validation is not None
    assert found.validation.labels.equal(true.validation.labels)
    table = torch.zeros(4, 4).index_put_(
        (true.train.labels, found.train.labels), torch.ones(len(found.train)), accumulate=True
    )
    expected = len(found.train) / 16
    chi_squared = ((table - expected) ** 2 / expected).sum().item()
    assert chi_squared < 44.3  # 15 degrees of freedom, p = 1e-4
    assert found.class_names == dataset.class_names


def test_random_labels_follow_the_seed_and_nothing_else(tiny_config: Config) -> None:
    first, again, other, true = (
        prepare(tiny_config(**changes))
        for changes in (
            {"labels": "random"}, {"labels": "random", "arch": "3-fc", "lr": 0.3},
            {"labels": "random", "seed": 1}, {},
        )
    )  # fmt: skip
    assert first.dataset.train.labels.equal(again.dataset.train.labels)
    assert not first.dataset.train.labels.equal(other.dataset.train.labels)
    assert not first.dataset.train.labels.equal(true.dataset.train.labels)
    weights, same = first.model.state_dict(), true.model.state_dict()
    assert all(tensor.equal(same[name]) for name, tensor in weights.items())


def test_labels_are_in_the_history_and_only_where_they_are_not_the_true_ones(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    for name, changes in (
        ("true", {}),
        ("random", {"labels": "random", "until_train_accuracy": 0.9, "classes": ("2,0,1",)}),
    ):
        run_train(tiny_config(epochs=0, **changes), f"{name}.safetensors")
    true, random = (
        open_checkpoint(tmp_path / f"{name}.safetensors").require_kind("model").history[-1]["config"]
        for name in ("true", "random")
    )
    assert set(random) - set(true) == {"labels", "until_train_accuracy", "classes"}
    assert (random["labels"], random["until_train_accuracy"], random["classes"]) == ("random", 0.9, ["2,0,1"])


# --- labels of a component --------------------------------------------------------------------------------


def brute_labels(images: Tensor, test: Tensor, kernel: int, component: int, classes: int) -> tuple[Any, Any]:
    """By unfolded patches and numpy, the sign of the component free: labels, and the labels by its negative."""

    def patches_of(some: Tensor) -> Any:
        patches = some.double().unfold(2, kernel, 1).unfold(3, kernel, 1).permute(0, 2, 3, 1, 4, 5)
        return patches.reshape(len(some), -1, some.shape[1] * kernel**2).numpy()

    patches = patches_of(images)
    _, vectors = np.linalg.eigh(np.cov(patches.reshape(-1, patches.shape[-1]).T, bias=True))
    found = []
    for sign in (1, -1):
        direction = sign * vectors[:, -1 - component]
        totals, test_totals = ((patches_of(some) @ direction).sum(axis=1) for some in (images, test))
        ordered = np.sort(totals)
        bounds = [ordered[int(np.ceil(part * len(ordered) / classes))] for part in range(1, classes)]
        found.append([np.searchsorted(bounds, values, side="right") for values in (totals, test_totals)])
    return found[0], found[1]


@pytest.mark.parametrize(("classes", "kernel", "component"), [(2, 3, 0), (4, 2, 5), (3, 4, 1), (4, 3, 26)])
def test_component_labels_are_those_of_unfolded_patches(classes: int, kernel: int, component: int) -> None:
    dataset = noise(62, 40, classes)
    found = with_component_labels(dataset, (kernel, kernel), component)
    brute = brute_labels(dataset.train.images, dataset.test.images, kernel, component, classes)
    labels = [found.train.labels.tolist(), found.test.labels.tolist()]
    assert labels in [[part.tolist() for part in either] for either in brute]
    counts = torch.bincount(found.train.labels, minlength=classes)
    assert counts.max() - counts.min() <= 1
    assert found.train.images is dataset.train.images
    assert found.class_names == tuple(f"pca:{component}/{part}" for part in range(classes))


def test_an_image_has_the_same_label_in_training_and_test() -> None:
    """Those on a threshold, too."""
    dataset = noise(60, 60, 4)
    found = with_component_labels(replace(dataset, test=dataset.train), (3, 3), 2)
    assert found.test.labels.equal(found.train.labels)


@pytest.mark.parametrize(
    ("arch", "kernel"), [("vgg11", 3), ("alexnet", 4), ("s-conv", 9), ("s-fc", 9), ("s-local", 9), ("3-fc", 3),
                         ("resnet18", 3)],
)  # fmt: skip
def test_patches_are_of_the_first_layers_kernel(arch: str, kernel: int) -> None:
    assert first_kernel(ModelSpec(arch=arch, image=(16, 16), channels=3, classes=4, alpha=1)) == (
        kernel,
        kernel,
    )
    assert first_kernel(
        ModelSpec(arch="linear-cnn", image=(16, 16), channels=3, classes=2, alpha=1, kernel_size=6)
    ) == (6, 6)


def test_component_labels_are_those_of_the_whole_training_set(tiny_config: Config) -> None:
    """A subset or a validation split takes its images' labels along."""
    whole = prepare(tiny_config(arch="alexnet", labels="pca:2")).dataset
    cut = prepare(tiny_config(arch="alexnet", labels="pca:2", val_fraction=0.25, train_size=20)).dataset
    labels = {
        bytes(i.flatten().tolist()): int(y)
        for i, y in zip(whole.train.images, whole.train.labels, strict=True)
    }
    assert cut.validation is not None
    for split in (cut.train, cut.validation):
        for image, label in zip(split.images, split.labels, strict=True):
            assert labels[bytes(image.flatten().tolist())] == int(label)
    assert cut.test.labels.equal(whole.test.labels)
    assert torch.bincount(cut.train.labels).tolist() == [5] * 4
    halves = prepare(tiny_config(labels="pca:2", classes=("0,3",))).dataset
    assert torch.bincount(halves.train.labels).tolist() == [16, 16]


def test_there_are_only_so_many_components(tiny_config: Config) -> None:
    prepare(tiny_config(arch="alexnet", labels="pca:47"))
    with pytest.raises(BadInputError, match="there is no component 48: 4x4 patches have 48, counted from 0"):
        prepare(tiny_config(arch="alexnet", labels="pca:48"))


def test_component_labels_are_learnt_from_a_network_that_is_given(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    """The kernel is that of the network in --init."""
    run_train(tiny_config(arch="s-conv", labels="pca:1", optim="sgd", epochs=1))
    config = tiny_config(init=str(tmp_path / "net.safetensors"), labels="pca:1")
    fresh = prepare(tiny_config(arch="s-conv", labels="pca:1"))
    assert prepare(config).inputs["dataset"] == fresh.inputs["dataset"]


@pytest.mark.parametrize("labels", ["random", "pca:3"])
def test_a_run_on_other_labels_is_resumed(
    tiny_config: Config, run_train: Run, tmp_path: Path, labels: str
) -> None:
    config = tiny_config(labels=labels, classes=("0,2,3",), optim="sgd", batch_size=12)
    run_train(config, "whole.safetensors")
    with pytest.raises(InterruptedRunError):
        run_train(config, "parts.safetensors", stop_after=5)
    with pytest.raises(UsageError, match="was run with labels"):
        run_train(
            tiny_config(classes=("0,2,3",), optim="sgd", batch_size=12), "parts.safetensors", resume=True
        )
    run_train(config, "parts.safetensors", resume=True)
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_networks_trained_on_two_subsets_see_images_alike(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    """Two seeds draw other subsets and validation images; the files can be joined by a path all the same."""
    files = [str(tmp_path / f"{seed}.safetensors") for seed in (1, 2)]
    for seed, file in enumerate(files, start=1):
        run_train(tiny_config(seed=seed, train_size=32, val_fraction=0.25, epochs=1), Path(file).name)
    inputs = [open_checkpoint(file).require_kind("model").input for file in files]
    assert inputs[0] == inputs[1]
    whole = prepare(tiny_config()).preprocess
    assert inputs[0] is not None
    assert inputs[0]["mean"] == list(whole.mean)
    config = InterpolateConfig(
        files=tuple(files), dataset=tiny_config().dataset, points=3, train_size=16, device="cpu"
    )
    (path,) = interpolate(config).paths
    assert len(path.train) == 3
