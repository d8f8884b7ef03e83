"""Critical points of the loss of one target: `lcstool linear critical`."""
