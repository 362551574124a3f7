"""`python -m inspector.cli`: the `inspector` command without its script."""

from inspector.cli import main

main()
