"""From a fitted network to an engine folder."""
