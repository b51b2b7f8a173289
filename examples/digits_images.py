"""Write scikit-learn's 1,797 handwritten digits as an ImageFolder: FOLDER/{train,test}/<digit>/<number>.png,
8x8 pixels.

    python examples/digits_images.py FOLDER

Every fifth image of a class goes to the test set.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def write_digits(folder: Path) -> None:
    digits = load_digits()
    seen = dict.fromkeys(digits.target_names.tolist(), 0)
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
        split = "test" if seen[label] % 5 == 4 else "train"
        seen[label] += 1
        path = folder / split / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).round().astype(np.uint8)).save(path)  # 17 shades, 0 to 16


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_digits(Path(sys.argv[1]))
    print(f"wrote the digits to {sys.argv[1]}")
