"""The stages, one a subcommand: a typed config in, a frozen result out, LcsError when it cannot be done.

Stages do not import one another: they speak through checkpoints. What two of them share lives below.
"""
