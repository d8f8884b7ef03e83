"""One run on several processes: the ranks that torchrun started, and the messages between them."""

from lcstool.distributed.group import ALONE, Group
from lcstool.distributed.joining import ToldError, join
from lcstool.distributed.layers import share_layers
from lcstool.distributed.shards import gathered, split_like, splitter, whole, write_whole

__all__ = [
    "ALONE",
    "Group",
    "ToldError",
    "gathered",
    "join",
    "share_layers",
    "split_like",
    "splitter",
    "whole",
    "write_whole",
]
