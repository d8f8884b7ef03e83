"""Where gradient descent ends, for random targets of every kind: `lcstool linear ends`."""
