"""The options of `sadp-dist doctor`, and the configuration and store that they name."""

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
    """The options of the command; all are optional.

    Attributes:
        config_file: the YAML file of a run to check.
        overrides: "section.key=value" overrides of the file.
        store_url: the store to check; by default that of the file.
        dataset_size: N that the store must have memory for.
        betons: .beton files to check.
        processes: number of processes of the run on this machine; None: one per GPU, or 1.
    """

    config_file: Path | None = None
    overrides: tuple[str, ...] = ()
    store_url: str | None = field(default=None, repr=False)  # it may contain a password
    dataset_size: int | None = None
    betons: tuple[Path, ...] = ()
    processes: int | None = None

    @cached_property
    def config(self) -> TrainConfig | None:
        """The run's configuration; None without a file, or if a package that reads it is broken.

        Raises:
            UsageError: the file does not exist or is not valid.
        """
        if self.config_file is None:
            return None
        try:
            from sadp_dist.training.config_file import load_config
        except Exception:  # a broken package can raise anything; its own check reports it
            return None
        return load_config(self.config_file, self.overrides)

    def check(self) -> None:
        """Check the options.

        Raises:
            UsageError: the configuration or the store's URL is not valid, or a file does not exist.
        """
        for beton in self.betons:
            if not beton.is_file():
                raise UsageError(
                    f"--beton {beton} does not exist; create it with: sadp-dist beton SOURCE {beton}"
                )
        if self.store is not None:  # this reads the configuration
            self._check_url(self.store)

    def _check_url(self, url: str) -> None:
        try:
            from sadp_dist.passwords import without_password
            from sadp_dist.store import BACKENDS

            if self.store_kind == "redis":
                from sadp_dist.store.backends.redis.address import Address
        except Exception:  # a missing or broken package; its own check reports it
            return
        if self.store_kind not in BACKENDS:
            known = ", ".join(f'"{backend}:"' for backend in BACKENDS)
            raise UsageError(f"--store {without_password(url)} is not a store; it must start with {known}")
        if self.store_kind == "redis":
            Address.parse(url)

    @property
    def store(self) -> str | None:
        """URL of the store; None if neither an option nor a configuration gives it."""
        if self.store_url is None and self.config is not None:
            return self.config.store.url
        return self.store_url

    @property
    def store_kind(self) -> str | None:
        """Scheme of the store's URL, "redis" also for "rediss"."""
        return None if self.store is None else self.store.partition(":")[0].replace("rediss", "redis")

    def wants(self, extra: str) -> bool:
        """Return whether the options need an extra of this project."""
        data = None if self.config is None else self.config.data
        if extra == "ffcv":
            return bool(self.betons) or (data is not None and data.loader == "ffcv")
        if extra == "parquet":
            return data is not None and any(name.endswith(".parquet") for name in (data.train, data.test))
        if extra in ("wandb", "mlflow"):
            return self.config is not None and extra in self.config.tracking.trackers
        return extra == self.store_kind
