"""Optimizers: beta-LASSO; plain SGD is torch's own."""

from lcstool.optim.beta_lasso import BetaLasso, SupportChange

__all__ = ["BetaLasso", "SupportChange"]
