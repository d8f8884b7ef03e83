"""What was pruned, what stayed, and is it local: `lcstool prune-stats`."""
