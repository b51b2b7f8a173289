"""What a person wants to have looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.training.config import TrainConfig


@dataclass(frozen=True)
class DoctorOptions:
    """What was typed; all of it may be left out.

    Attributes:
        config_file: a run's YAML file, whose needs are looked at.
        overrides: "section.key=value", instead of the file's.
        store_url: where the scores are to live, instead of the file's.
        dataset_size: N, for which the store has to have room.
        betons: .beton files.
        processes: of a run on this machine; None is one per GPU, or one.
    """

    config_file: Path | None = None
    overrides: tuple[str, ...] = ()
    store_url: str | None = field(default=None, repr=False)  # a password may be in it
    dataset_size: int | None = None
    betons: tuple[Path, ...] = ()
    processes: int | None = None

    @cached_property
    def config(self) -> TrainConfig | None:
        """The run's configuration; None without a file, or where a package that reads it is broken.

        Raises:
            UsageError: it is not there, or wrong.
        """
        if self.config_file is None:
            return None
        try:
            from sadp_dist.training.config_file import load_config
        except Exception:  # whatever a broken package does; the package's own check says it
            return None
        return load_config(self.config_file, self.overrides)

    def check(self) -> None:
        """Refuse what was typed wrongly.

        Raises:
            UsageError: the configuration or the store's URL is wrong, or a file is not there.
        """
        for beton in self.betons:
            if not beton.is_file():
                raise UsageError(
                    f"--beton {beton} does not exist; write it with: sadp-dist beton SOURCE {beton}"
                )
        if self.store is not None:  # which reads the configuration
            self._check_url(self.store)

    def _check_url(self, url: str) -> None:
        try:
            from sadp_dist.passwords import without_password
            from sadp_dist.store import BACKENDS

            if self.store_kind == "redis":
                from sadp_dist.store.backends.redis.address import Address
        except Exception:  # a package is missing or broken, which its own check says
            return
        if self.store_kind not in BACKENDS:
            known = ", ".join(f'"{scheme}:"' for scheme in BACKENDS)
            raise UsageError(f"--store {without_password(url)} is not a store: it has to start with {known}")
        if self.store_kind == "redis":
            Address.parse(url)

    @property
    def store(self) -> str | None:
        """Where the scores are to live; None if nobody said."""
        if self.store_url is None and self.config is not None:
            return self.config.store.url
        return self.store_url

    @property
    def store_kind(self) -> str | None:
        """Scheme of that URL, "redis" also for "rediss"."""
        return None if self.store is None else self.store.partition(":")[0].replace("rediss", "redis")

    def wants(self, extra: str) -> bool:
        """Whether what was asked for needs an extra of this project."""
        data = None if self.config is None else self.config.data
        if extra == "ffcv":
            return bool(self.betons) or (data is not None and data.loader == "ffcv")
        if extra == "parquet":
            return data is not None and any(name.endswith(".parquet") for name in (data.train, data.test))
        if extra in ("wandb", "mlflow"):
            return self.config is not None and extra in self.config.tracking.trackers
        return extra == self.store_kind
