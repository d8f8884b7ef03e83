"""One small document of every schema, with every key that a document can have: what `--json` prints, for tests."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from safetensors.torch import save_file
from surroundings import outputs_of

from lcstool.checkpoint import Header, write_checkpoint
from lcstool.errors import InterruptedRunError
from lcstool.record import history_entry
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.stage import bound
from lcstool.stages.convert.config import ConvertConfig
from lcstool.stages.convert.stage import convert
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.plan import plan as embed_plan
from lcstool.stages.embed.source import choose_layers, open_source
from lcstool.stages.embed.stage import embed
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.stage import energy
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.info.stage import info
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.stage import interpolate
from lcstool.stages.linear.certify.config import CertifyConfig
from lcstool.stages.linear.certify.stage import certify
from lcstool.stages.linear.compose.config import ComposeConfig
from lcstool.stages.linear.compose.stage import compose
from lcstool.stages.linear.critical.config import CriticalConfig
from lcstool.stages.linear.critical.stage import critical
from lcstool.stages.linear.ends.config import EndsConfig
from lcstool.stages.linear.ends.stage import ends
from lcstool.stages.linear.factor.config import FactorConfig
from lcstool.stages.linear.factor.stage import factor
from lcstool.stages.linear.probe.config import ProbeConfig
from lcstool.stages.linear.probe.stage import probe
from lcstool.stages.linear.scan.config import ScanConfig
from lcstool.stages.linear.scan.stage import scan
from lcstool.stages.linear.space.config import SpaceConfig
from lcstool.stages.linear.space.stage import space
from lcstool.stages.linear.train.config import LinearTrainConfig
from lcstool.stages.linear.train.stage import train as linear_train
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.stage import prune_stats
from lcstool.stages.sharpness.config import SharpnessConfig
from lcstool.stages.sharpness.stage import sharpness
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.plan import plan as train_plan
from lcstool.stages.train.stage import train

Document = dict[str, Any]


class Result(Protocol):
    def to_json(self) -> Document: ...


class Maker:
    """Runs stages on a tiny data set of two classes, and keeps the documents of their results."""

    def __init__(self, folder: Path, npz: Path) -> None:
        self.folder, self.documents = folder, list[Document]()
        self.data: Document = {"dataset": f"npz:{npz}"}

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def keep(self, *results: Result) -> None:
        """As another program reads them."""
        texts = [json.dumps(result.to_json(), allow_nan=False) for result in results]
        self.documents += map(json.loads, texts)

    def make(self) -> list[Document]:
        self.trainings()
        self.other_stages()
        self.linear_stages()
        self.files()
        return self.documents

    def config(self, **fields: Any) -> TrainConfig:
        fields = {"epochs": 1, "batch_size": 16, "augment": "none", "device": "cpu", **self.data, **fields}
        return TrainConfig(**fields if {"init", "fc_params"} & set(fields) else {"alpha": 2} | fields)

    def train(self, name: str, **fields: Any) -> None:
        self.keep(train(self.config(**fields), outputs_of(self.folder / name)))

    def trainings(self) -> None:
        lasso = {"arch": "s-fc", "alpha": 1, "lambda_conv": 1e-3, "lambda_fc": 1e-3, "log_screen": True}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Loop, "warnings", ["no compiler"])
            self.train("fc", **lasso, val_fraction=0.25, until_train_accuracy=0.9, permute_pixels=1)
        for seed in range(3):
            self.train(f"cnn{seed}", arch="vanilla-cnn", optim="sgd", seed=seed)
        question = EmbedConfig(file=self.file("cnn0"), **self.data)
        source = open_source(question)
        self.keep(embed_plan(question, source, choose_layers(question, source)))
        self.keep(embed(question, self.file("embedded")))
        self.train("efcn", init=self.file("embedded"), loss="mse", lr=0.01)
        self.keep(train_plan(self.config(arch="resnet18")))
        self.keep(train_plan(self.config(arch="3-fc", fc_params="100k")))
        with contextlib.suppress(InterruptedRunError):
            train(self.config(), outputs_of(self.folder / "stopped"), stop_requested=lambda: True)

    def other_stages(self) -> None:
        cnns = tuple(self.file(f"cnn{seed}") for seed in range(3))
        common: Document = {**self.data, "device": "cpu"}
        path = InterpolateConfig(files=cnns, points=3, align=True, plane=2, **common)
        joined = interpolate(path, self.file("path"), "best")
        self.keep(
            joined, replace(joined, aligned=(replace(joined.aligned[0], left={"layer2": "it is grouped"}),))
        )
        self.keep(sharpness(SharpnessConfig(file=cnns[0], tolerance=0.1, **common)))
        files = (self.file("fc"), self.file("efcn"))
        self.keep(prune_stats(PruneStatsConfig(files=files, discover=True, draws=2, **common)))
        small = PruneStatsConfig(files=files[:1], prune="magnitude:1", compact=True, **common)
        self.keep(prune_stats(small, self.file("small")))
        search = BoundConfig(file=cnns[0], search=True, search_prune=("0",), search_bits=("2",), **common)
        self.keep(bound(search, self.file("code")))
        self.keep(info(InfoConfig(**self.data)))
        save_file({"w": torch.randn(10, 20)}, self.file("foreign"))
        self.keep(bound(BoundConfig(file=self.file("foreign"), samples=100_000, train_error=0.1)))
        masked = {"a.weight_orig": torch.ones(4, 3), "a.weight_mask": torch.eye(4, 3)}
        rest = {"norm.weight": torch.ones(4), "norm.bias": torch.ones(4), "cls_token": torch.ones(1, 1, 4)}
        save_file(masked | rest, self.file("masked"))
        for name in ("masked", "cnn0"):
            self.keep(convert(ConvertConfig(file=self.file(name)), self.file("plain")))
        self.keep(prune_stats(PruneStatsConfig(files=(self.file("masked"),))))
        theory: Document = {"theory": "linear-gd", "steps": 10.0, "fit": True, "label_correlation": True}
        profile = EnergyConfig(files=cnns[:1], draws=20, **theory, **self.data)
        self.keep(energy(profile, self.file("profile"), self.file("basis")))

    def linear_stages(self) -> None:
        self.keep(space(SpaceConfig(kernels="2,2")), scan(ScanConfig(max_size=4)))
        for entries in ("1,0,-1", "1,0.3,1"):
            self.keep(factor(FactorConfig(filter=entries, kernels="2,2", starts=10)))
        lesson = LinearTrainConfig(kernels="2,3,2", target="1,0.3,1,1,1", runs=3, device="cpu")
        self.keep(linear_train(lesson, self.file("lcn")))
        self.keep(compose(ComposeConfig(file=self.file("lcn"))))
        self.keep(certify(CertifyConfig(file=self.file("lcn"))))
        self.keep(critical(CriticalConfig(kernels="2,2", target="1,0.3,1", starts=5)))
        self.keep(ends(EndsConfig(kernels="2,2", targets=1, starts=3)))
        weight = torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0]))[None, None]
        save_file({"a.weight": weight, "b.weight": weight.clone()}, self.file("depthwise"))
        self.keep(probe(ProbeConfig(file=self.file("depthwise"))), probe(ProbeConfig(file=self.file("lcn"))))

    def files(self) -> None:
        entry = history_entry("train", {}, inputs={}, metrics={}, epochs_done=1, world_size=2)
        write_checkpoint(self.file("shared"), Header(kind="model", history=(entry,)), {})
        made = ("stopped.partial.safetensors", "efcn", "small", "profile", "basis", "code", "lcn", "foreign",
                "shared")  # fmt: skip
        self.keep(*(info(InfoConfig(file=self.file(name))) for name in made))
        self.keep(info(InfoConfig(archs=True, image_size=(16,), alpha=(1,))))
