"""Prefix-free codes: ways to write a network's parameters as a string of bits, and to read them back.

The length of such a string is an upper bound on the network's description length.

To add a code, write a class with the methods of `Code` in a file of its own, add a line to CODES here and the code's
name to `lcstool.choices.CODES`.

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
