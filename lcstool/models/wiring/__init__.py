"""What feeds what in a network, found by running it once, for any architecture.

`trace` finds each convolution's geometry, `units` which layer's units feed which layer's inputs (through the gradients
of a `probe`), and `zeros` which of them a pruned layer still uses.
"""
