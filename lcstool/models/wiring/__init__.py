"""What feeds what in a network, found by running it once, for any architecture.

`trace` finds each convolution's geometry, `units` which layer's units feed which layer's inputs (through the gradients
of a `probe`), and `zeros` which of them a pruned layer still uses. `streams` finds which channels can be put in another
order, and only together, from the `places` where they arrive. `entrance` finds the layers that see the image, also in
networks of any modules, which `dry_run` runs without memory. `draws` finds what draws random numbers in training.
"""
