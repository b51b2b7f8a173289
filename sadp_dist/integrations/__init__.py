"""Data pruning in frameworks that own the training loop. Each module needs its framework's package."""
