"""Measured speed and memory. This is a package, because other projects install one of this name too."""
