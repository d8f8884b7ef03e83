"""The bound stage: how few bits describe a network, and what that says about its error on new images."""
