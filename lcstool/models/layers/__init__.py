"""Layers on images by how they are connected (shared, local or dense), and the geometry that all three share."""
