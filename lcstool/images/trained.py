"""What a file's history says of the images that its network was trained on, and where they are now."""

from dataclasses import dataclass
from pathlib import Path

from lcstool.checkpoint import Header
from lcstool.data import DATASETS, default_data_dir
from lcstool.errors import BadInputError
from lcstool.images.cut import Cut
from lcstool.record import last_training


@dataclass(frozen=True)
class TrainedOn:
    """The images of a network's last training.

    Attributes:
        name: Of the data set as one types it, without folders: `cifar10`, `npz:x.npz`.
        digest: Content digest of the whole data set at the network's image size; None if the history has none.
        cut: What the training made of it.
    """

    name: str
    digest: str | None
    cut: Cut


def trained_on(header: Header | None) -> TrainedOn | None:
    """The images of the last training in a file's history; None if nothing says what they were."""
    entry = last_training(header.history) if header is not None else None
    config, inputs = (entry or {}).get("config"), (entry or {}).get("inputs")
    if entry is None or not isinstance(config, dict) or not isinstance(config.get("dataset"), str):
        return None
    digest = inputs.get("dataset") if isinstance(inputs, dict) else None
    return TrainedOn(config["dataset"], digest if isinstance(digest, str) else None, Cut.of_entry(entry))


def find_dataset(name: str, data_dir: Path | None, where: str) -> str:
    """A data set by the name that a history keeps, as `load_dataset` takes it.

    Files and folders are looked for under their name in the working directory, then in the data folder.

    Args:
        name: As in `TrainedOn`.
        data_dir: The data folder; None is the default one.
        where: The network's file, for errors.

    Raises:
        BadInputError: it is at neither place, or of no known kind. Another data set is never taken in its place.
    """
    source, _, file = name.partition(":")
    if source not in DATASETS:
        raise BadInputError(
            f"{where} was trained on {name}, a data set that this lcstool does not know",
            hint="name it: --dataset",
        )
    if not DATASETS[source].takes_path:
        return name
    folder = data_dir or default_data_dir()
    for place in (Path(file), folder / file):
        if place.exists():
            return f"{source}:{place}"
    raise BadInputError(
        f"{where} was trained on {name}, and there is no {file} here or in {folder}",
        hint=f"say where it is: --dataset {source}:PATH, or --data-dir FOLDER",
    )
