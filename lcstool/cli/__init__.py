"""The `lcstool` command: one module a subcommand, each parsing, calling its stage, and writing."""
