"""The sections of a training run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sadp_dist.choices import check_choice
from sadp_dist.data.config import DataConfig as DataConfig  # public here as well
from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.passwords import without_password
from sadp_dist.scoring.config import ScoringConfig
from sadp_dist.sections import OnlyWith, Section
from sadp_dist.selection import RULES, PruningConfig
from sadp_dist.snn.compression.config import CompressionConfig
from sadp_dist.snn.learning.config import LearningConfig
from sadp_dist.snn.models.config import NetworkConfig
from sadp_dist.store import StoreOptions
from sadp_dist.training.curriculum import CurriculumPhase, check_fractions, check_largest, check_strengths
from sadp_dist.training.trackers import TRACKERS

DEFAULT_METHOD = PruningConfig().method
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
SHARD_BLOCK = 16_384
"""`pruning.shard_block` for a file that is read by pages: the examples of many pages."""


class OptimizationConfig(Section):
    """How the weights are trained.

    Attributes:
        epochs: K, the number of epochs. Tracking epochs come before them; "reduced-epoch" trains fewer.
        batch_size: examples of one optimizer step, over all ranks and accumulated micro-batches, so that a
            recipe means the same on one GPU and on eight.
        accumulate: number of micro-batches into which a rank splits its part of a batch.
        optimizer: "sgd" or "adamw".
        learning_rate: the highest learning rate; it decays to 0 along half a cosine.
        momentum: momentum of the optimizer.
        nesterov: whether to use Nesterov momentum.
        weight_decay: weight decay of all parameters.
        warmup_epochs: epochs in which the learning rate grows to its highest; may be a fraction.
        loss: "cross-entropy" of the mean output over time; "tet", the mean of the losses of all time steps
            with a regulariser; or "tet-label", with the squared distance from the label as regulariser.
        label_smoothing: share of the target that is spread over all classes.
        tet_lambda: weight of the regulariser.
        precision: "fp32", "bf16" or "fp16"; the last two use torch.autocast.
        channels_last: whether to use the memory layout that convolutions on GPUs prefer.
        compile: whether torch.compile compiles the network; while scores are read, its graph ends at each
            scored layer.
        evaluate_every: epochs between two evaluations on the test examples; the last epoch always has one.
        checkpoint_minutes: minutes after which a checkpoint is written in the middle of an epoch, in addition
            to the one at its end. None: never; nor with the score "window-loss".
        checkpoint_every: optimizer steps between two checkpoints, in addition to these.
        keep_checkpoints: number of checkpoints to keep, the newest ones.
        curriculum: the phases of the run; the epochs of tracking come before them. Without phases, all epochs
            are alike.
    """

    epochs: Positive
    batch_size: Positive = 128
    accumulate: Positive = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1), OnlyWith("optimizer", "sgd")] = 0.9
    nesterov: Annotated[bool, OnlyWith("optimizer", "sgd")] = False
    weight_decay: NotNegative = 0.0
    warmup_epochs: NotNegative = 0.0
    loss: Literal["cross-entropy", "tet", "tet-label"] = "cross-entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    tet_lambda: Annotated[float, Field(ge=0, le=1), OnlyWith("loss", "tet", "tet-label")] = 0.05
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    evaluate_every: Positive = 1
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None = 10.0
    checkpoint_every: Positive | None = None
    keep_checkpoints: Positive = 2
    curriculum: list[CurriculumPhase] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> OptimizationConfig:
        if self.nesterov and self.optimizer == "sgd" and self.momentum == 0:
            raise UsageError("nesterov=true needs momentum above 0; raise momentum or remove nesterov")
        check_fractions(self.curriculum)
        return self


class StoreConfig(StoreOptions):
    """The store of the scores, see `sadp_dist.connect`.

    Attributes:
        url: "memory:", "redis://HOST:PORT/DB" ("rediss://" for TLS), "ray:auto" or "ray://HOST:PORT".
    """

    url: str = Field(default="memory:", repr=False)  # a password may be in it


class TrackingConfig(Section):
    """Where the metrics go while a run trains, in addition to its directory.

    Attributes:
        trackers: any of "tensorboard", "wandb" and "mlflow". The last two read their address and key from
            their own environment variables, and need the extras of the same names.
        project: the project of "wandb", or the experiment of "mlflow".
    """

    trackers: list[str] = Field(default_factory=lambda: ["tensorboard"])
    project: Annotated[str, OnlyWith("trackers", "wandb", "mlflow")] = "sadp_dist"

    @model_validator(mode="after")
    def _check(self) -> TrackingConfig:
        for tracker in self.trackers:
            check_choice("trackers", tracker, TRACKERS)
        return self


class TrainConfig(Section):
    """One training run.

    Attributes:
        imports: modules of your own to import first, such as `my_package.my_rules`, from the current
            directory or an installed package. What they register can then be named in the other sections.
        name: name of the run; its directory has it, and a store that holds several runs.
        data: the examples.
        training: how the weights are trained.
        network: the network.
        learning: the learning rule of the network.
        compression: how training makes the network smaller.
        pruning: how many examples each epoch leaves out, and which.
        scoring: the score of an example.
        store: the store of the scores.
        tracking: where the metrics go.
        output: the run's directory; `{name}` stands for its name.
        seed: seed of the initial weights, of augmentation and, unless you set `pruning.seed`, of the draws.
    """

    imports: list[str] = Field(default_factory=list)
    name: str
    data: DataConfig
    training: OptimizationConfig
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    learning: LearningConfig = Field(default_factory=LearningConfig)
    compression: CompressionConfig = Field(default_factory=CompressionConfig)
    pruning: PruningConfig = Field(default_factory=PruningConfig)
    scoring: ScoringConfig = Field(default_factory=ScoringConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
    output: str = "runs/{name}"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        import_modules(own_modules(values))
        return follow(values)

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        rule, score = self.pruning.rule, self.scoring.score
        if rule.only_its_score and score != rule.score:
            raise UsageError(
                f'scoring.score="{score}" does not go with pruning.method="{self.pruning.method}", '
                f'which needs "{rule.score}"; remove scoring.score'
            )
        training = self.training
        check_largest(
            training.curriculum, time_steps=self.network.time_steps, image_size=self.data.image_size
        )
        check_strengths(training.curriculum, self.data)
        self.compression.check_epochs(self.pruning.rule.epochs)
        if self.compression.needs_momentum and training.optimizer == "sgd" and training.momentum == 0:
            raise UsageError(
                f'compression.method="{self.compression.method}" needs the momentum of the optimizer; '
                "set training.momentum above 0, or training.optimizer=adamw"
            )
        try:
            _ = self.run_dir
        except (KeyError, IndexError, ValueError):
            raise UsageError(
                f"output={self.output!r} may refer to {{name}} only; remove other braces"
            ) from None
        return self

    @property
    def run_dir(self) -> Path:
        """The directory of the run."""
        return Path(self.output.format(name=self.name))

    def to_dict(self) -> dict[str, Any]:
        """Return plain mappings, lists, strings and numbers, as `parse_config` reads them; no password."""
        plain = super().to_dict()
        plain["store"]["url"] = without_password(self.store.url)
        return plain


def parse_config(raw: Any, source: str = "configuration") -> TrainConfig:
    """Check a configuration given as nested mappings; `source` names it in errors.

    Raises:
        UsageError: a key is not known or missing, or a value is not allowed.
    """
    return TrainConfig.parse(raw, source)


def own_modules(raw: Mapping[str, Any]) -> list[str]:
    """Return the modules in a configuration's `imports`; none if it is not a list of strings."""
    names = raw.get("imports")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def follow(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the keys that follow from other sections, unless it has them.

    `pruning` gets the number of epochs, the seed and, for data read by pages, the shard block; `scoring` gets
    the score of the pruning rule.

    Raises:
        UsageError: `pruning.epochs` differs from `training.epochs`.
    """
    filled = dict(raw)
    epochs = _key(raw.get("training"), "epochs")
    if epochs is not None and _key(raw.get("pruning"), "epochs") not in (None, epochs):
        raise UsageError(
            f"pruning.epochs={_key(raw['pruning'], 'epochs')} differs from training.epochs={epochs}; "
            "remove pruning.epochs"
        )
    paged = _key(raw.get("data"), "page_window") is not None
    filled["pruning"] = _filled(
        raw.get("pruning"),
        epochs=epochs,
        seed=raw.get("seed", 0),
        shard_block=SHARD_BLOCK if paged else None,
    )
    pruning = filled["pruning"]
    method = pruning.get("method", DEFAULT_METHOD) if isinstance(pruning, Mapping) else pruning.method
    score = RULES[method].score if isinstance(method, str) and method in RULES else None
    scoring = raw.get("scoring")
    if isinstance(scoring, Mapping) and scoring.get("score", "") is None:
        scoring = {key: value for key, value in scoring.items() if key != "score"}
    filled["scoring"] = _filled(scoring, score=score)
    return filled


def _key(section: Any, name: str) -> Any:
    """Return a key that a section was given, or None."""
    if isinstance(section, Section):
        return getattr(section, name) if name in section.model_fields_set else None
    return section.get(name) if isinstance(section, Mapping) else None


def _filled(section: Any, **defaults: Any) -> Any:
    """Return a section with defaults for the keys that it was not given."""
    found = {name: value for name, value in defaults.items() if value is not None}
    if section is None or isinstance(section, Mapping):
        return {**found, **(section or {})}
    if isinstance(section, Section):
        return section.replace(**{k: v for k, v in found.items() if _key(section, k) is None})
    return section
