"""Layers on images: locally connected, dense, and batch norm over units; and the geometry that they share."""
