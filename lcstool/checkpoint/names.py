"""Names as the network has them, without what wrappers of training put before them."""

from collections.abc import Iterable

#: Parts of a name that torch.compile, FSDP and activation checkpointing insert, anywhere.
_INSERTED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
#: What DataParallel and averaged models (`module`) and Lightning (`model`) put before every name.
_LEADING = ("module", "model")
#: Numbers that a wrapper keeps beside the network: how many models an average is of.
BOOKKEEPING = frozenset({"n_averaged"})
#: The masks of the OpenLTH package stand beside the network that they belong to.
_MASK = "mask_"


def plain_names(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Names without the prefixes that all of them have from wrappers.

    Args:
        names: Of all tensors of a file.

    Returns:
        The old name of each new one, in order, and the prefixes that were taken off. Names stay as they are where two
        would become one.
    """
    old = list(names)
    new = {name: _without_inserted(name) for name in old}
    stripped = sorted({part for name in old for part in name.split(".")[:-1] if part in _INSERTED})
    while True:
        prefix = next((word for word in _LEADING if _all_begin(new.values(), f"{word}.")), None)
        if prefix is None:
            break
        stripped.append(prefix)
        new = {name: short.removeprefix(f"{prefix}.") for name, short in new.items()}
    if len(set(new.values())) < len(new):
        return {name: name for name in old}, ()
    return {short: name for name, short in new.items()}, tuple(stripped)


def _without_inserted(name: str) -> str:
    *path, last = name.split(".")
    return ".".join([*(part for part in path if part not in _INSERTED), last])


def _all_begin(names: Iterable[str], prefix: str) -> bool:
    """Whether all names but those beside the network begin so, and there are such names."""
    inside = [name for name in names if name not in BOOKKEEPING and not _stands_beside(name)]
    return bool(inside) and all(name.startswith(prefix) for name in inside)


def _stands_beside(name: str) -> bool:
    return name.startswith(_MASK) and "___" in name
