"""The evaluation report: one HTML page that carries its plots and needs nothing else."""
