"""The embedding Phi, which writes a convolution as a dense or local layer that computes the same.

`support` says where a convolution's weights stand in the dense matrix, `phi` is the map itself, `modules` and `tensors`
embed whole networks, and `subspace` splits an embedded network's weights into convolutional, local and off-local parts
(by the `orbits` of tied entries).

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""
