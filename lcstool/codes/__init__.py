"""Prefix-free codes of a network's parameters: real bit strings whose lengths bound its description length.

To add a code, write a class with the methods of `Code` in a file of its own and add a line here.

Ref: Neyshabur 2020 (arXiv 2007.13657), theorems 1 and 2.
"""

from lcstool.codes.bits import BitString
from lcstool.codes.code import Code, CodeLength, Counts, count
from lcstool.codes.comb import CombCode
from lcstool.codes.entropy import EntropyCode
from lcstool.codes.paper import PaperCode
from lcstool.codes.side import Side, TensorSide, Values
from lcstool.codes.structured import StructuredCode

__all__ = ["CODES", "BitString", "Code", "CodeLength", "Counts", "Side", "TensorSide", "Values", "count"]

CODES: dict[str, Code] = {
    "paper": PaperCode(),
    "comb": CombCode(),
    "structured": StructuredCode(),
    "entropy": EntropyCode(),
}
