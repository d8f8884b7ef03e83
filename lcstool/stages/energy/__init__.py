"""First-layer energy profiles over patch principal components, and the theory beside them: `lcstool energy`."""
