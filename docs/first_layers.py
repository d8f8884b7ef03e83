"""Which layer `lcstool energy` takes for the first one, over all networks of three libraries, as a table.

    python docs/first_layers.py > docs/first-layers.md

It needs timm and transformers beside lcstool (pip install timm transformers); no weights are downloaded, since networks
are built on torch's meta device, which holds shapes only. It takes about a quarter of an hour on one core.

Each network is run, and the layers whose input is the image, or is made of the image without any layer, are noted
(`lcstool.models.wiring.entrance`): this is the truth. A run may stop further on, where values are needed. Then
lcstool is asked for the first layer, given nothing but the names and shapes of the state dict, once for each size in
SIZES; the images are grey where the network takes these. The answer is right if the network has one such layer and it
is always given; wrong if another layer is ever given, or one of several; else it is refused.
"""

import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
import transformers
from library_networks import Network, all_networks
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, TensorInfo
from lcstool.errors import BadInputError
from lcstool.models.wiring.entrance import ImageWatch
from lcstool.stages.energy.layers import find_first_layer
from lcstool.weights.roles import layer_name

# Of images: a dense layer with that many inputs may be the first.
SIZES = (None, (16, 16), (32, 32), (224, 224))


class Shapes(Checkpoint):
    """The names and shapes of a state dict, as those of a file."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.where, self.header = "net", None
        self.tensors = {
            name: TensorInfo(dtype=value.dtype, shape=tuple(value.shape), begin=0, end=0)
            for name, value in state.items()
            if isinstance(value, Tensor)
        }

    def _whole(self, name: str) -> Tensor:
        raise NotImplementedError("there are no values")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network: its family, the layers that see the image with their shapes, and what lcstool says."""

    source: str
    family: str
    name: str
    layers: str
    verdict: str


def judge(network: Network) -> Row:
    """Build a network, run it in each of the ways to do so until one shows a layer to the image, and ask lcstool."""
    print(network.source, network.name, file=sys.stderr)
    named = {"source": network.source, "family": network.family, "name": network.name}
    found: dict[str, tuple[int, ...]] = {}
    reason = ""
    try:
        model, ways = network.make()
        for run, image in ways:
            if not found:
                found, reason = seeing(model.eval(), run, image)
    except Exception as error:  # whatever a library raises
        reason = f"{type(error).__name__}: {error}"
    if not found:
        text = " ".join(reason.split())[:90].replace("|", "/")
        return Row(**named, layers="", verdict=f"not run: {text}")
    file = Shapes(model.state_dict())
    layers = ", ".join(f"`{layer_name(key)}` {_shape(file, key)}" for key in found)
    verdict = _verdict(file, [layer_name(key) for key in found])
    return Row(**named, layers=layers, verdict=verdict)


def seeing(model: nn.Module, run: Callable[[], Any], image: Tensor) -> tuple[dict[str, tuple[int, ...]], str]:
    """The weights that are applied to the image, and what stopped the run (many need values further on)."""
    watch, reason = ImageWatch(), ""
    watch.begin(dict(model.named_parameters()), image)
    try:
        with torch.no_grad(), torch.device("meta"), watch:
            run()
    except Exception as error:  # whatever a library raises
        reason = f"{type(error).__name__}: {error}"
    return watch.found, reason


def _shape(file: Shapes, key: str) -> str:
    _, *rest = file.tensors[key].shape if key in file.tensors else (0,)
    return f"[{', '.join(['O', *map(str, rest)])}]"


def _verdict(file: Shapes, truth: list[str]) -> str:
    refusals = []
    shapes = [info.shape for name, info in file.tensors.items() if layer_name(name) in truth]
    channels = 1 if any(shape[1:2] == (1,) for shape in shapes) else 3
    for size in SIZES:
        try:
            answer = find_first_layer(file, channels, size, None).weight.layer
        except BadInputError as error:
            refusals.append(error.message)
            continue
        if truth != [answer]:
            return f"WRONG: `{answer}`"
    if not refusals:
        return "right"
    text = refusals[0]
    kinds = {
        "could be the first": "several offered",
        "on video": "on video",
        "on patches": "dense, on patches",
    }
    kind = next((word for part, word in kinds.items() if part in text), "none fits")
    named = all(layer in text for layer in truth)
    return f"refused: {kind}" + ("" if named else ", not named")


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The table in Markdown: totals, then one line for all networks of a family with the same layer and verdict."""
    yield "# The first layers that `lcstool energy` finds\n"
    yield (
        "Made by `python docs/first_layers.py > docs/first-layers.md`, which says how. Versions: "
        + ", ".join(
            f"{library.__name__} {library.__version__.partition('+')[0]}"
            for library in (torch, torchvision, timm, transformers)
        )
    )
    yield "\n| | networks | right | refused by name | wrong | not run |\n|---|---|---|---|---|---|"
    verdicts = ("right", "refused", "WRONG", "not run")
    for source in ("torchvision", "timm", "transformers"):
        own = Counter(row.verdict.partition(":")[0] for row in rows if row.source == source)
        yield f"| {source} | {own.total()} | " + " | ".join(str(own[verdict]) for verdict in verdicts) + " |"
    yield (
        "\nThe layers are those that see the image, with the shapes of their weights, where O is the number of "
        "outputs. Several are branches of one stem, or encoders of their own: they are offered by name, and `--layer` "
        "chooses."
    )
    grouped: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.verdict == "right"):
        grouped[row.source, row.family, row.layers, row.verdict].append(row.name)
    for source in ("torchvision", "timm", "transformers"):
        yield f"\n## {source}\n\n| family | networks | layers that see the image | verdict |\n|---|---|---|---|"
        for (own_source, family, layers, verdict), names in grouped.items():
            if own_source == source:
                shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
                yield f"| {family} | {shown} | {layers} | {verdict} |"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    print("\n".join(table([judge(network) for network in all_networks()])))
