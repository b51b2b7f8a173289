"""Reads a training run's configuration from its YAML file and from the command line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sadp_dist import __version__
from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.passwords import without_password
from sadp_dist.sections import Section, section_in
from sadp_dist.training.config import TrainConfig, follow, own_modules, parse_config
from sadp_dist.training.safe_yaml import safe_yaml

CONFIG_FILE = "config.yaml"
"""Where a run writes its configuration, in its directory."""


def load_config(
    path: str | Path, overrides: Sequence[str] = (), imports: Sequence[str] = (), resume: bool = False
) -> TrainConfig:
    """Read a run's YAML file and apply ``section.key=value`` overrides.

    Args:
        path: the file.
        overrides: values that replace the file's.
        imports: the user's own modules to import, beside those that the file names.
        resume: whether to import also what the run imported that is to go on.

    Raises:
        UsageError: the file is missing or not YAML, a module cannot be imported, a key is not known or
            missing, or a value is not allowed.
    """
    return parse_config(read_sections(path, overrides, imports, resume), source=str(path))


def read_sections(
    path: str | Path, overrides: Sequence[str] = (), imports: Sequence[str] = (), resume: bool = False
) -> dict[str, Any]:
    """Read a run's YAML file and apply overrides; check nothing else yet.

    An override may choose another kind, as pruning.method=full does, or another value, as
    training.optimizer=adamw does. The file's options that no longer have an effect are then dropped.

    The arguments are those of `load_config`.

    Raises:
        UsageError: the file is missing or not YAML, an override does not look like one, or a module cannot
            be imported.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"configuration {path} does not exist; configs/ holds ready ones")
    in_file = _read_yaml(path)
    raw = copy.deepcopy(in_file)
    typed = [_apply_override(raw, override) for override in overrides]
    saved = _imports_of_saved_run(raw) if resume else []
    if imports or saved:
        raw["imports"] = list(dict.fromkeys([*own_modules(raw), *imports, *saved]))
    import_modules(own_modules(raw))
    before = dict(_sections_in(in_file))
    for where, kind in list(_sections_in(raw)) if overrides else ():
        section, earlier = _section_at(raw, where), before.get(where, kind)
        lost = set(earlier.model_fields) - set(kind.model_fields)
        lost |= (
            kind.without_effect(section).keys() - earlier.without_effect(_section_at(in_file, where)).keys()
        )
        for key in set(section) & lost:
            if (*where, key) not in typed:
                del section[key]
    return raw


def read_saved(path: Path) -> TrainConfig:
    """Read the configuration that a run wrote to its directory, also with an older version.

    Options of other kinds, which versions before 0.3 wrote, are dropped: see `Section.keys_in_use`.

    Raises:
        UsageError: the file cannot be read, or this version does not know a key or a value in it.
    """
    raw = _read_yaml(path)
    import_modules(own_modules(raw))
    (raw.get("store") or {}).pop("shards", None)  # a run has one score table since 0.3
    if "layers" in (raw.get("scoring") or {}):
        raw["scoring"].setdefault("bias", False)  # scores had no part of biases before 0.3
    try:
        return parse_config(TrainConfig.keys_in_use(follow(raw)), source=str(path))
    except UsageError as error:
        raise UsageError(
            f"{error} (this is sadp_dist {__version__}; was another version used before?)"
        ) from None


def import_modules_of_run(run_dir: Path) -> None:
    """Import the modules that a run imported, if the directory is that of a run.

    Raises:
        UsageError: its configuration cannot be read, or a module cannot be imported.
    """
    if (run_dir / CONFIG_FILE).is_file():
        import_modules(own_modules(_read_yaml(run_dir / CONFIG_FILE)))


def first_difference(earlier: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> str | None:
    """Return the first key in which two plain configurations differ, as "section.key: 1 then, 2 now"."""
    for key in [*earlier, *(key for key in now if key not in earlier)]:
        then, today = earlier.get(key), now.get(key)
        if isinstance(then, Mapping) and isinstance(today, Mapping):
            if difference := first_difference(then, today, f"{prefix}{key}."):
                return difference
        elif then != today:
            return f"{prefix}{key}: {then!r} then, {today!r} now"
    return None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = safe_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML that can be read: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path} must hold sections such as data: and training:, got {type(raw).__name__}")
    return raw


def _imports_of_saved_run(raw: Mapping[str, Any]) -> list[str]:
    """Return the `imports` of the run that the directory of this configuration holds, if it holds one."""
    output = str(raw.get("output") or TrainConfig.model_fields["output"].default)
    saved = Path(output.replace("{name}", str(raw.get("name")))) / CONFIG_FILE
    return own_modules(_read_yaml(saved)) if saved.is_file() else []


def _apply_override(raw: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one value, and return the path of its key."""
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
        section[keys[-1]] = safe_yaml(text)
    except yaml.YAMLError:
        raise UsageError(f"override {shown!r}: the text after = is not a YAML value") from None
    return tuple(keys)


def _sections_in(
    raw: Mapping[str, Any], section: type[Section] = TrainConfig, where: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """Yield where each section is, and its class: with kinds, that of the kind that it names."""
    try:
        values: Mapping[str, Any] = follow(raw) if section is TrainConfig else raw
    except UsageError:
        return  # the check of the whole says it
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        below = values.get(name) if values.get(name) is not None else {}
        if inner is None or not isinstance(below, Mapping):
            continue
        try:
            kind = inner.kind_of(below)
        except UsageError:
            continue
        yield (*where, name), kind
        yield from _sections_in(below, kind, (*where, name))


def _section_at(raw: Any, where: tuple[str, ...]) -> Any:
    for key in where:
        raw = raw.get(key) or {}
    return raw
