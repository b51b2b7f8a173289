"""Imported last by the server of `tests.forked`: its forks' garbage collectors skip what it has imported."""

import gc

gc.collect()
gc.freeze()
