"""What feeds what in a network, found by running it once without its weights."""
