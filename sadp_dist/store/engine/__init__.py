"""The state of a run, what follows from it, and its bytes, without threads or a clock."""
