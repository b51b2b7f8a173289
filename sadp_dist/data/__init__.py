"""Datasets. `open_images` reads labelled images from a folder, a .zip or parquet."""

from sadp_dist.data.images import ImageSource, open_images

__all__ = ["ImageSource", "open_images"]
