"""The factor stage: is a filter in the function space, in how many ways, and if it is not, which one is nearest?

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 4.
"""

from torch import Tensor

from lcstool.errors import UsageError
from lcstool.lcn import LinearConvArchitecture, factorizations, membership, nearest_filter, root_pattern
from lcstool.lcn.file import LcnFile, stacked, write_lcn
from lcstool.parsing import parse_architecture
from lcstool.randomness import stream
from lcstool.record import history_entry, portable_config
from lcstool.stages.linear.factor.config import FactorConfig
from lcstool.stages.linear.factor.result import FactorResult
from lcstool.stages.linear.filters import end_filter


def factor(config: FactorConfig, out: str | None = None) -> FactorResult:
    """Factor a filter, or find the nearest one that can be factored.

    Args:
        config: The filter and the layers.
        out: Where to write the factorizations, or the nearest member, as networks of one file.

    Raises:
        UsageError: a filter of another size, or zero.
        BadInputError: more factorizations than are to be listed.
    """
    architecture = LinearConvArchitecture(*parse_architecture(config.kernels, config.strides))
    filter_K = end_filter(config.filter, architecture, "filter")
    if not filter_K.any():
        raise UsageError("the filter is zero: every network with a zero layer is a factorization of it")
    verdict = membership(filter_K, architecture, config.noise)
    result = FactorResult(
        architecture=architecture,
        filter_K=filter_K,
        pattern=root_pattern(filter_K, noise=config.noise),
        membership=verdict,
        ways=tuple(factorizations(filter_K, architecture, config.noise, config.limit))
        if verdict.is_member
        else (),
        nearest=None
        if verdict.is_member
        else nearest_filter(filter_K, architecture, config.starts, stream(config.seed, "starts")),
    )
    if out is not None:
        _write(config, result, out)
    return result


def _write(config: FactorConfig, result: FactorResult, out: str) -> None:
    networks: list[tuple[Tensor, ...]] = [way.filters for way in result.ways]
    if result.nearest is not None:
        networks = [result.nearest.filters]
    file = LcnFile(
        architecture=result.architecture, filters=stacked(networks), recorded={"target": result.filter_K}
    )
    settings = {"filter": result.filter_K.tolist(), **portable_config(config, ("noise", "starts"))}
    metrics = {"is_member": result.membership.is_member, "num_networks": len(networks)}
    write_lcn(
        out, file, history_entry("linear-factor", settings, inputs={}, metrics=metrics, seed=config.seed)
    )
