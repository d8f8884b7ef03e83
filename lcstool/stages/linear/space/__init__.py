"""What an architecture can represent: `lcstool linear space`."""
