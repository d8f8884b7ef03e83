"""`lcstool linear`: the geometry of linear convolutional networks, a module for each subcommand."""

from lcstool.cli.linear import (  # each registers its command on `group.linear`
    certify,
    compose,
    critical,
    ends,
    factor,
    probe,
    scan,
    space,
    train,
)

__all__ = ["certify", "compose", "critical", "ends", "factor", "probe", "scan", "space", "train"]
