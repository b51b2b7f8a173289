"""The examples with the highest scores, with their images if the dataset can be opened."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from sadp_dist.data.fingerprints import check_data_of_run
from sadp_dist.errors import UsageError
from sadp_dist.report.contact_sheet import contact_sheet
from sadp_dist.report.run_groups import Group
from sadp_dist.report.run_record import RunRecord

SHOWN = 24
SIDE = 128  # pixels; larger images are scaled down


class TrainingImages(Protocol):
    """A run's training images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]: ...


@dataclass(frozen=True)
class HardExample:
    """One example.

    Attributes:
        index: in the dataset.
        score: the latest score.
        label: class name; None if the dataset is not available.
        image: None if the dataset is not available.
    """

    index: int
    score: float
    label: str | None = None
    image: Image.Image | None = None

    @property
    def small(self) -> bool:
        """Whether the image is shown enlarged."""
        return self.image is not None and max(self.image.size) < SIDE

    @property
    def source(self) -> str | None:
        """The image as a data URI, at most `SIDE` pixels wide and high; None without an image."""
        if self.image is None:
            return None
        small = self.image.copy()
        small.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        small.save(file, format="PNG")
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@dataclass(frozen=True)
class Hardest:
    """The examples with the highest scores of one run of a group.

    Attributes:
        title: name of the run.
        examples: highest score first.
        note: why there are no images; empty if there are.
        number: of the group.
    """

    title: str
    examples: list[HardExample]
    note: str
    number: int

    def save_png(self, folder: Path) -> Path | None:
        """Write the images as a contact sheet; return None if there are none."""
        shown = [example for example in self.examples if example.image is not None]
        if not shown:
            return None
        path = folder / f"hardest-{self.number + 1}.png"
        captions = [f"{example.label}\n{example.score:.3g}" for example in shown]
        contact_sheet([example.image for example in shown if example.image is not None], captions).savefig(
            path, dpi=150
        )
        return path


def hardest_examples(groups: Sequence[Group], images: TrainingImages | None) -> list[Hardest]:
    """Return the hardest examples of each group, from its first run with scores in a checkpoint.

    Args:
        groups: of runs.
        images: the dataset; None to open that of each run.
    """
    found = []
    for group in groups:
        run = next((run for run in group.runs if run.store is not None and run.needs_scores), None)
        if run is None or run.store is None:
            continue
        indices, scores = run.store.top(SHOWN)
        if len(indices) == 0:
            continue
        title = group.label if len(group.runs) == 1 else f"{group.label}, {run.name}"
        examples = [HardExample(int(i), float(s)) for i, s in zip(indices, scores, strict=True)]
        note = ""
        try:
            opened = images if images is not None else training_images(run)
            check_data(opened, run, "--images" if images is not None else f"data.train of {run.path}")
            examples = [_with_image(example, opened) for example in examples]
        except UsageError as error:
            note = f"No images: {error}"
        found.append(Hardest(title, examples, note, group.number))
    return found


def training_images(run: RunRecord) -> TrainingImages:
    """Return the training images that a run's configuration names.

    Raises:
        UsageError: they do not exist, or cannot be read.
    """
    data = run.config.get("data") or {}
    source = Path(str(data.get("train")))
    if not source.exists():
        raise UsageError(f"data.train {str(source)!r} does not exist here; give the images with --images")
    if data.get("loader") == "torch":
        from sadp_dist.data import open_images

        return open_images(
            source,
            data.get("train_split"),
            channels=data.get("channels") or 3,
            image_column=data.get("image_column"),
            label_column=data.get("label_column"),
        )
    from sadp_dist.loading.beton_images import BetonImages

    return BetonImages(source)


def class_names(images: TrainingImages | None) -> list[str] | None:
    """Return the class names of a dataset; None if it has class numbers only, like some .beton files."""
    names = getattr(images, "classes", None)
    return None if names is None else [str(name) for name in names]


def check_data(images: TrainingImages, run: RunRecord, shown: str) -> None:
    """Refuse images that are not those that a run with a checkpoint trained on.

    Raises:
        UsageError: they are other images.
    """
    if run.store is not None:
        figures = run.store.stats()
        check_data_of_run(shown, images, figures.dataset_size, figures.data)


def _with_image(example: HardExample, images: TrainingImages) -> HardExample:
    image, label = images[example.index]
    names = class_names(images)
    return HardExample(example.index, example.score, names[label] if names else f"class {label}", image)
