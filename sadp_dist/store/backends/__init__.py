"""Where the engine of a run can live."""
