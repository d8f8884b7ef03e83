"""The embedding Phi of convolutions into dense and local layers: modules, numbers, and the subspaces it spans.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""
