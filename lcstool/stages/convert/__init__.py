"""Anybody's network as one plain file: `lcstool convert`."""
