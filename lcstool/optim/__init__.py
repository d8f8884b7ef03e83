"""The beta-LASSO optimizer. For plain SGD, lcstool uses torch's."""

from lcstool.optim.beta_lasso import BetaLasso
from lcstool.optim.step import SupportChange

__all__ = ["BetaLasso", "SupportChange"]
