"""All ways to write a filter as layers, or the nearest filter that has one: `lcstool linear factor`."""
