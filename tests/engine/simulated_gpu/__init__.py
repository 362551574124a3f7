from pathlib import Path

SITE = Path(__file__).with_name("site")
"""On the path of Python, the simulated `tensorrt` and `pycuda` can be imported."""
