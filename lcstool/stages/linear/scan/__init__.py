"""All small architectures in one table: `lcstool linear scan`."""
