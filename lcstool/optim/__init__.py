"""Optimizers: beta-LASSO; plain SGD is torch's own."""

from lcstool.optim.beta_lasso import BetaLasso
from lcstool.optim.step import SupportChange

__all__ = ["BetaLasso", "SupportChange"]
