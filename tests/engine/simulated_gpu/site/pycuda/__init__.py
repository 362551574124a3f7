"""Stands in for PyCUDA, over the simulated GPU."""

VERSION_TEXT = "2026.1"
