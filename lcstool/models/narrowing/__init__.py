"""Smaller or faster networks of the same function.

`widths` and `flatten` change the shapes of layers, `compact` drops the units that pruning left without a use, `fold`
folds batch norms into layers, and `sparse` multiplies by mostly-zero matrices faster.
"""
