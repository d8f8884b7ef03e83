"""Train a network: `lcstool train`."""
