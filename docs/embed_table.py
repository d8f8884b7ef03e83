"""Whether every classifier of torchvision embeds, and how large its largest layer becomes: makes docs/torchvision.md.

    python docs/embed_table.py > docs/torchvision.md

Each network is written with zero weights, at the smallest of a few image sizes that it runs at, and then planned as
`lcstool embed FILE --model torchvision:NAME --input 3xHxW --dry-run --json` plans it, in a process of its own. It takes
some twenty minutes on two cores and 3 GB of disk at a time. `--only PATTERN` restricts it to some networks.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file

from lcstool.errors import BadInputError
from lcstool.models.build import empty_model
from lcstool.models.foreign import foreign_spec
from lcstool.models.wiring.trace import trace

SIDES = (32, 64, 75, 96, 128, 160, 192, 224, 256)

ABOUT = """# The classifiers of torchvision, embedded

Made by `python docs/embed_table.py > docs/torchvision.md` with torchvision {torchvision}, torch {torch}.

Each network has 1,000 classes and the smallest input of {sides} pixels a side that it runs at. The plan is that of
`lcstool embed FILE --model torchvision:NAME --input 3xHxW --dry-run`; its exit code is 0 where the network can be
embedded. The last columns are of the largest layer, as a fully-connected one: its matrix, and its bytes in float32
as a dense matrix and with only the convolution's own entries (csr).

Some things that a state dict does not tell:

- `googlenet` and `inception_v3` are built without the auxiliary heads, which only training runs; their tensors are left
  out. torchvision's own weights of both want `--model-arg transform_input=True`: they were trained on images that are
  normalised in another way.
- `vit_*` take images of 224 pixels a side only, unless `--model-arg image_size=32` says otherwise, which a state dict
  must then have been trained with; `maxvit_t` has `input_size` likewise.

| network | input | convolutions | exit code | largest layer | rows x columns | dense bytes | csr bytes |
|---|---|---:|---:|---|---:|---:|---:|"""


def smallest_input(name: str) -> tuple[int, int, int]:
    """The smallest of the sizes at which the network runs; the largest if it runs at none."""
    for side in SIDES:
        try:
            spec = foreign_spec(f"torchvision:{name}", (3, side, side))
            trace(empty_model(spec), spec.in_shape)
        except BadInputError:
            continue
        break
    return 3, side, side


def write_zeros(name: str, file: Path) -> None:
    """The network's state dict, all zeros."""
    spec = foreign_spec(f"torchvision:{name}", (3, 32, 32))
    state = empty_model(spec).state_dict()
    save_file({key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in state.items()}, file)


def row(name: str, folder: Path) -> str:
    """A network's line of the table."""
    shape = "x".join(map(str, smallest_input(name)))
    file = folder / f"{name}.safetensors"
    write_zeros(name, file)
    command = [sys.executable, "-m", "lcstool", "embed", str(file), "--dry-run", "--json"]
    command += ["--model", f"torchvision:{name}", "--input", shape]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    file.unlink()
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        return f"| {name} | {shape} | - | {done.returncode} | - | - | - | - |"
    layers = json.loads(done.stdout)["layers"]
    largest = max(layers, key=lambda layer: layer["dense_bytes"])
    return (
        f"| {name} | {shape} | {len(layers)} | 0 | {largest['name']} | {largest['rows']:,} x {largest['columns']:,} "
        f"| {largest['dense_bytes']:,} | {largest['csr_bytes']:,} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="*", help="networks whose names match this pattern")
    wanted = parser.parse_args().only
    names = fnmatch.filter(torchvision.models.list_models(module=torchvision.models), wanted)
    sides = ", ".join(map(str, SIDES))
    print(ABOUT.format(torchvision=torchvision.__version__, torch=torch.__version__, sides=sides))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(row(name, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
