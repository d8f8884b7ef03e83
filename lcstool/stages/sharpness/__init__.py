"""Gradient norm and extreme Hessian eigenvalues of the training loss: `lcstool sharpness`."""
