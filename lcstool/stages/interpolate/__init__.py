"""Paths between checkpoints in weight space and in output space: `lcstool interpolate`."""
