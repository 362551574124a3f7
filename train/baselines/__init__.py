"""Two classical classifiers, measured beside the networks on the same data."""
