"""Plans: TensorRT engines compiled for one GPU; which one fits, where they lie, how one is made."""
