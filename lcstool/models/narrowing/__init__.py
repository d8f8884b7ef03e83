"""Smaller networks of the same function: fewer channels, dropped units, folded batch norms, sparse products."""
