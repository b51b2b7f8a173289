"""Bytes: the frames of a push, and snapshots."""
