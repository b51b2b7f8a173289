"""All benchmarks, one after the other: python -m benchmarks [--short]; or one: python -m benchmarks.NAME."""

import subprocess
import sys

NAMES = ("selection", "scoring_step", "store", "service", "ray_shards", "soak", "loading", "epoch_time")

if __name__ == "__main__":
    for name in NAMES:
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=True)
