"""The state of a run and what follows from it, without threads, files or a clock."""
