"""Every figure, drawn from results; matplotlib is imported here and nowhere else."""
