"""Measured speed and memory. A package, and not a mere folder, for others install one of this name, too."""
