"""The end-to-end filters of networks in a file: `lcstool linear compose`."""
