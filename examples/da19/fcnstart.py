"""The same layers with random weights: python fcnstart.py EFCN.safetensors --seed 0 -o FCN.safetensors.

An FCN has the architecture of the eFCNs, padded inputs included, and starts from PyTorch's default weights.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from lcstool.checkpoint import open_checkpoint, write_checkpoint
from lcstool.models import ModelSpec, build_model


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a network's architecture with random weights.")
    parser.add_argument("efcn", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    header = open_checkpoint(str(options.efcn)).require_kind("model")
    spec = ModelSpec.from_json(header.model or {}, str(options.efcn))
    model = build_model(spec, torch.Generator().manual_seed(options.seed))
    write_checkpoint(str(options.out), replace(header, history=()), model.state_dict())


if __name__ == "__main__":
    main()
