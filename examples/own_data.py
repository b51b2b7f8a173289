"""Train the recipes for N-MNIST's sample and for spoken digits with three seeds, and print their accuracy.

    python examples/own_data.py FOLDER [RESULT.json]

FOLDER has nmnist-small.zip and spoken-digits.zip. Files and runs go to the current directory. It takes some
minutes on two CPU cores.
"""

import json
import statistics
import sys
from pathlib import Path

from sadp_dist.data import open_dataset
from sadp_dist.loading import write_arrays
from sadp_dist.training import load_config, train

CONFIGS = Path(__file__).parents[1] / "configs"
SEEDS = (0, 1, 2)
WAV = {"pattern": "{class}_{speaker}_{number}.wav", "test_files": "*_[0-4].wav"}
DATA = {
    "nmnist-small": ("nmnist-small.zip", "nmnist", {"time_steps": 5}),
    "spoken-digits": ("spoken-digits.zip", "wav", WAV),
}


def accuracies(folder: Path, recipe: str, *overrides: str) -> list[float]:
    archive, dataset, options = DATA[recipe]
    Path("data", recipe).mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        examples = open_dataset(dataset, folder / archive, split, verify=False, **options)
        write_arrays(examples, Path("data", recipe, f"{split}.beton"))
    found = []
    for seed in SEEDS:
        files = [f"data.{split}=data/{recipe}/{split}.beton" for split in ("train", "test")]
        name = f"name={recipe}-{seed}"
        config = load_config(CONFIGS / f"{recipe}.yaml", [*files, name, f"seed={seed}", *overrides])
        found.append(100 * train(config, existing="overwrite")["test_accuracy"])
    return found


def main(folder: Path, out: Path | None, *overrides: str) -> None:
    rows = []
    for recipe in DATA:
        found = accuracies(folder, recipe, *overrides)
        shown = f"{statistics.mean(found):.1f} ± {statistics.stdev(found) / len(found) ** 0.5:.1f}"
        rows.append([f"configs/{recipe}.yaml", shown])
        print(f"{recipe}: test accuracy {shown} %")
    table = {
        "title": "Data of your own",
        "columns": ["recipe", f"test accuracy in %, {len(SEEDS)} seeds, mean ± standard error"],
        "rows": rows,
    }
    if out is not None:
        result = {"command": "python examples/own_data.py FOLDER", "tables": [table]}
        out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None)
