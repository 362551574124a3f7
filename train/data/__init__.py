"""Pictures to train and measure on: references, made crops, made sets, and sets as distributed."""
