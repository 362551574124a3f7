"""Measuring a network: its answers on a set, figures, temperature and thresholds."""
