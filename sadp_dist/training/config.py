"""A training run as one small YAML file, checked whole before anything starts."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.passwords import without_password
from sadp_dist.selection import PruningConfig
from sadp_dist.snn.compression.config import NEEDS_MOMENTUM, CompressionConfig
from sadp_dist.snn.learning.config import LearningConfig
from sadp_dist.snn.neurons import NeuronConfig
from sadp_dist.store import StoreOptions
from sadp_dist.training.trackers import TRACKERS

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
SHARD_BLOCK = 16_384
"""Examples that go to a rank together where a file is read by pages: many of its pages."""


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from and what happens to them before the network.

    Sequences, of events or of sound, go to the network as they are, and bring their own size: they take none
    of `image_size`, `mean`, `std`, `augment`, `autoaugment` and `cutout`.

    Attributes:
        train: the training examples: a .beton file, or with `loader: torch` an ImageFolder folder, a .zip of
            one, a parquet file, or what a `dataset` is published as.
        test: the test examples, likewise.
        dataset: the public dataset that they are, one of ``sadp_dist.data.DATASETS``: messages say then how
            to get it, and it has `classes`, unless they are given. None: data of one's own.
        loader: "ffcv" reads .beton files, which `sadp-dist beton` writes; "torch" reads the others.
        train_split: with `loader: torch`, the sub-folder of `train`; for parquet, how its files' names begin;
            with a `dataset`, "train" where left out.
        test_split: the same of `test`; with a `dataset`, "test" where left out.
        image_size: side of the square images that the network sees, in pixels.
        classes: number of classes; None: as many as the dataset has, or the training labels name.
        mean: of the red, green and blue channel, in 0..255; it is subtracted.
        std: of the channels, in 0..255; what is left is divided by it.
        augment: "none", "crop" (pad, crop and flip) or "resized-crop"; keyed by seed, epoch and example.
        autoaugment: AutoAugment with the policy found on "cifar10" (for CIFAR-100 too) or on "imagenet",
            after cropping and mirroring and before `cutout`; None: without.
        padding: pixels that "crop" adds on each side.
        flip: whether half of the images are mirrored, unless `augment` is "none".
        cutout: side of a square that is blanked, in pixels, unless `augment` is "none"; 0 blanks none.
        workers: threads (ffcv, at least one) or processes (torch) that load, on each rank.
        page_window: for a .beton larger than memory: it is read page by page of 8 MiB, each once an epoch,
            and examples are mixed over so many pages, which each rank has in memory; `pruning.shard_block`
            is 16384 then, unless it is given. None: the system's cache holds the file, in any order.

    Raises:
        UsageError: a dataset that is not known, or a page window where the images are in no .beton.
    """

    train: str
    test: str
    dataset: str | None = None
    loader: Literal["ffcv", "torch"] = "ffcv"
    train_split: str | None = None
    test_split: str | None = None
    image_size: Positive = 32
    classes: Positive | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    augment: Literal["none", "crop", "resized-crop"] = "none"
    autoaugment: Literal["cifar10", "imagenet"] | None = None
    padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True
    cutout: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(ge=0)] = 1
    page_window: Positive | None = None

    def __post_init__(self) -> None:
        if self.dataset is not None:
            from sadp_dist.data.registry import DATASETS  # whose readers need Pillow

            check_choice("dataset", self.dataset, DATASETS)
        if self.page_window is not None and self.loader != "ffcv":
            raise UsageError(f"page_window={self.page_window}: only a .beton has pages; loader must be ffcv")


@dataclass(frozen=True)
class NetworkConfig:
    """Which network, for how many time steps, of which neurons.

    Attributes:
        name: one of `sadp_dist.snn.NETWORKS`, such as "small_cnn", "spiking_resnet18" or
            "meta_spikeformer_31m", or one that was registered.
        time_steps: T, how many times an image is shown; of sequences, how long they are.
        neuron: the neurons of all layers.
        weights: the weights to begin with: a run's directory, which means its newest checkpoint, or a file
            of published weights; by default they are drawn at random. They may be of other time steps, but
            for networks that have weights for one T (of PSN or masked PSN neurons, T-RevSNN).
    """

    name: str = "small_cnn"
    time_steps: Positive = 4
    neuron: NeuronConfig = field(default_factory=NeuronConfig)
    weights: str | None = None


@dataclass(frozen=True)
class ScoringConfig:
    """What is an example's score: a bound of its gradient's norm (Eq. 29), of which layers, or another one.

    Attributes:
        score: "gradient", "loss", "el2n" (how far the prediction is from the label), "error" (1 where it is
            wrong), "batch-loss" (that of the whole batch) or "window-loss" (1 where the loss is not below the
            mean of a rank's latest batches, else 0); None: what `pruning.method` is defined with.
        window: with "window-loss", so many batches of a rank, or fewer after the beginning of an epoch or a
            checkpoint; micro-batches where gradients are accumulated. None: 8.
        layers: with "gradient", the "last" layer, "all" of them, or a list of names.
        exact: the norm of the gradient and not its bound; linear layers only.
    """

    score: Literal["gradient", "loss", "el2n", "error", "batch-loss", "window-loss"] | None = None
    window: Positive | None = None
    layers: Literal["last", "all"] | list[str] = "last"
    exact: bool = False


@dataclass(frozen=True)
class OptimizationConfig:
    """The ``training:`` section: how the weights are learned.

    Attributes:
        epochs: K, how often the data set is gone through; tracking comes before, and "reduced-epoch" makes
            fewer of it.
        batch_size: examples of one optimizer step, over all ranks and accumulated micro-batches, so that a
            recipe means the same on one GPU and on eight.
        accumulate: micro-batches into which a rank splits its part of a batch.
        optimizer: "sgd" or "adamw".
        learning_rate: the highest one; from there it falls along half a cosine to 0.
        momentum: of "sgd".
        nesterov: Nesterov's momentum, with "sgd".
        weight_decay: of all parameters.
        warmup_epochs: epochs in which the learning rate grows to its highest; may be a fraction.
        loss: "cross-entropy" of the output's mean over time; "tet", the mean of each time step's, with a
            regulariser; or "tet-label", which has the squared distance from the label in its place.
        label_smoothing: share of the target that is spread over all classes.
        tet_lambda: weight of what "tet" and "tet-label" have beside cross entropy.
        precision: "fp32", "bf16" or "fp16"; the last two by torch.autocast.
        channels_last: the memory layout that GPUs' convolutions prefer.
        compile: whether torch.compile compiles the network; while scores are read, its graph ends at each
            scored layer.
        evaluate_every: epochs between evaluations on the test images; the last epoch always has one.
        checkpoint_every: optimizer steps between checkpoints; None: at the end of each epoch alone.
        keep_checkpoints: how many of the newest checkpoints are kept.
    """

    epochs: Positive
    batch_size: Positive = 128
    accumulate: Positive = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 0.0
    warmup_epochs: NotNegative = 0.0
    loss: Literal["cross-entropy", "tet", "tet-label"] = "cross-entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    tet_lambda: Annotated[float, Field(ge=0, le=1)] = 0.05
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    evaluate_every: Positive = 1
    checkpoint_every: Positive | None = None
    keep_checkpoints: Positive = 2


@dataclass(frozen=True)
class StoreConfig(StoreOptions):
    """Where the scores live; see ``sadp_dist.connect``.

    Attributes:
        url: "memory:", "redis://HOST:PORT/DB" ("rediss://" for TLS), "ray:auto" or "ray://HOST:PORT".
    """

    url: str = field(default="memory:", repr=False)  # a password may be in it


@dataclass(frozen=True)
class TrackingConfig:
    """Where figures go while a run trains, beside its directory.

    Attributes:
        trackers: any of "tensorboard", "wandb" and "mlflow". The last two take their address and key from
            their own environment variables, and need the extras of their names.
        project: the project at Weights & Biases, the experiment at MLflow.

    Raises:
        UsageError: a tracker that is not known.
    """

    trackers: list[str] = field(default_factory=lambda: ["tensorboard"])
    project: str = "sadp_dist"

    def __post_init__(self) -> None:
        for tracker in self.trackers:
            check_choice("trackers", tracker, TRACKERS)


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        name: of the run: in its folder, and in a store that holds several.
        data: the images.
        training: how the weights are learned.
        network: the network.
        learning: by which rule the network learns.
        compression: how the network is made smaller while it trains.
        pruning: how much of an epoch is left out, and what.
        scoring: where the scores come from.
        store: where the scores live.
        tracking: where figures go while it trains.
        output: the run's folder; `{name}` stands for its name.
        seed: of the weights at the start, of augmentation and, unless `pruning.seed` says otherwise, of what
            is drawn.

    Raises:
        UsageError: a score that the pruning rule cannot do with, or a compression that the training's length
            or optimizer cannot do with.
    """

    name: str
    data: DataConfig
    training: OptimizationConfig
    network: NetworkConfig = field(default_factory=NetworkConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    pruning: PruningConfig = field(default_factory=PruningConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    output: str = "runs/{name}"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def __post_init__(self) -> None:
        rule, score = self.pruning.rule, self.scoring.score
        if rule.only_its_score and score not in (None, rule.score):
            raise UsageError(
                f'scoring.score="{score}" is not what pruning.method="{self.pruning.method}" is made of; '
                "leave it out"
            )
        method, training = self.compression.method, self.training
        if method != "none":
            self.compression.check_epochs(self.pruning.schedule.epochs)
        if method in NEEDS_MOMENTUM and training.optimizer == "sgd" and training.momentum == 0:
            raise UsageError(
                f"compression.method={method} grows connections by the optimizer's momentum: set "
                "training.momentum above 0, or training.optimizer=adamw"
            )

    @property
    def run_dir(self) -> Path:
        return Path(self.output.format(name=self.name))

    def to_dict(self) -> dict[str, Any]:
        """Plain mappings, lists, strings and numbers, as ``load_config`` reads them; no password."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        plain["store"]["url"] = without_password(self.store.url)
        return plain


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a run's YAML file and apply ``section.key=value`` overrides.

    Raises:
        UsageError: the file is missing or not YAML, a key is unknown (the nearest known one is named), or a
            value is not allowed (the value and what is allowed are named).
    """
    return parse_config(read_sections(path, overrides), source=str(path))


def read_sections(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A run's file with overrides applied, as it is written: sections by name, nothing else checked yet.

    Raises:
        UsageError: the file is missing or not YAML, or an override is none.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"configuration {path} does not exist; configs/ holds ready ones")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path} must hold sections such as data: and training:, got {type(raw).__name__}")
    for override in overrides:
        _apply_override(raw, override)
    return raw


def parse_config(raw: dict[str, Any], source: str = "configuration") -> TrainConfig:
    """Check a configuration given as nested mappings; ``source`` names it in errors."""
    _refuse_unknown_keys(raw, TrainConfig, (), source)
    pruning = dict(raw.get("pruning") or {})
    # One number of epochs and one seed a run: the pruning section follows unless it says the same itself.
    epochs = (raw.get("training") or {}).get("epochs")
    if epochs is not None and pruning.setdefault("epochs", epochs) != epochs:
        raise UsageError(
            f"{source}: pruning.epochs is {pruning['epochs']}, training.epochs {epochs}; leave the first out"
        )
    pruning.setdefault("seed", raw.get("seed", 0))
    if (raw.get("data") or {}).get("page_window") is not None:
        pruning.setdefault("shard_block", SHARD_BLOCK)
    try:
        config = _adapter().validate_python({**raw, "pruning": pruning})
    except ValidationError as error:
        raise UsageError(f"{source}: {_first_problem(error)}") from None
    try:
        config.run_dir  # noqa: B018
    except (KeyError, IndexError, ValueError):
        raise UsageError(
            f"{source}: output is {config.output!r}; {{name}} is all that it may refer to"
        ) from None
    return config


@cache
def _adapter() -> TypeAdapter[TrainConfig]:
    return TypeAdapter(TrainConfig)  # takes longer to make than to use


def _apply_override(raw: dict[str, Any], override: str) -> None:
    shown = without_password(override)
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise UsageError(f"override {shown!r} must look like section.key=value, such as pruning.ratio=0.5")
    section: Any = raw
    for key in keys[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise UsageError(f"override {shown!r}: {key} is a value, not a section")
    try:
        section[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"override {shown!r}: what follows the = is not a YAML value") from None


def _refuse_unknown_keys(section: Any, kind: type, path: tuple[str, ...], source: str) -> None:
    if not isinstance(section, Mapping):
        where = ".".join(path) or "the file"
        raise UsageError(f"{source}: {where} must be a section with keys of its own, got {_shown(section)}")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    for key, value in section.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            where = f"in section {'.'.join(path)}" if path else "at the top level"
            raise UsageError(
                f"{source}: unknown key {_shown(key)} {where}; did you mean {near[0]!r}? "
                f"Known: {', '.join(known)}"
            )
        if dataclasses.is_dataclass(hints[key]) and value is not None:
            _refuse_unknown_keys(value, typing.cast(type, hints[key]), (*path, key), source)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":  # one of our own checks, which names the value
        message = without_password(message)
        return f"{where}: {message}" if where else message
    return f"{where} is {_shown(problem['input'])}: {message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    """A value as an error repeats it: it may be the store's URL in the wrong place."""
    return without_password(repr(value))


def first_difference(earlier: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> str | None:
    """The first key in which two plain configurations differ, as ``section.key: 1 then, 2 now``, or None."""
    for key in [*earlier, *(key for key in now if key not in earlier)]:
        then, today = earlier.get(key), now.get(key)
        if isinstance(then, Mapping) and isinstance(today, Mapping):
            if difference := first_difference(then, today, f"{prefix}{key}."):
                return difference
        elif then != today:
            return f"{prefix}{key}: {then!r} then, {today!r} now"
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value
