"""The geometry of linear convolutional networks, `lcstool linear`: a package for each subcommand.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538); Kohn, Montufar, Shahverdi & Trager 2023 (arXiv 2304.05752).
"""
