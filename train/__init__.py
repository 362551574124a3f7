"""Training of the engines: references, distortions, networks, fitting, measuring, export.

Run as `python -m train`. Serving (`inspector/`) never imports this package.
"""
