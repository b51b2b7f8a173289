"""Run examples/plain.py and examples/pruned.py with five seeds, and write docs/results/five_seeds.json.

python docs/generate/five_seeds.py      # two minutes of CPU time
"""

from __future__ import annotations

import io
import json
import re
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean, stdev

import torch

ROOT = Path(__file__).parents[2]
SCRIPTS = ("plain.py", "pruned.py")
SEEDS = 5


def run(script: str, seed: int) -> tuple[float, float, str]:
    """Return the last test accuracy in %, the CPU seconds, and what the script printed."""
    source = (ROOT / "examples" / script).read_text(encoding="utf-8")
    code = compile(source.replace("manual_seed(0)", f"manual_seed({seed})"), script, "exec")
    printed, started = io.StringIO(), time.process_time()
    with redirect_stdout(printed):
        exec(code, {"__name__": "__main__"})
    accuracy = re.findall(r"accuracy ([\d.]+)%", printed.getvalue())[-1]
    return float(accuracy), time.process_time() - started, printed.getvalue()


def main() -> None:
    torch.set_num_threads(1)
    for script in SCRIPTS:
        run(script, 0)  # imports and compiles
    runs = {script: [run(script, seed) for seed in range(SEEDS)] for script in SCRIPTS}
    rows = [
        [script, f"{mean(a):.2f} ± {stdev(a) / SEEDS**0.5:.2f}", f"{mean(s):.1f}"]
        for script, results in runs.items()
        for a, s, _ in [tuple(zip(*results, strict=True))]
    ]
    columns = ["script", "test accuracy in %, 5 seeds, mean ± standard error", "CPU time, s"]
    found = {
        "command": "python docs/generate/five_seeds.py",
        "tables": [{"title": "The README's example", "columns": columns, "rows": rows}],
    }
    file = ROOT / "docs" / "results" / "five_seeds.json"
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(runs["pruned.py"][0][2], json.dumps(rows, ensure_ascii=False), sep="\n")


if __name__ == "__main__":
    main()
