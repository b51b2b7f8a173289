"""Pruning inside frameworks that own the training loop; each module needs its framework's package."""
