"""Inspector: an inspection station that judges the pictures of cameras beside a line."""

__version__ = "0.1.0"
