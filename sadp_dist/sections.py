"""The base class of every section of a configuration.

A section is a frozen pydantic model. Python code and YAML files are checked in the same way: a mistake is a
``UsageError`` of one line, with the key, the value and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from sadp_dist.allowed import allowed_values
from sadp_dist.choices import check_choice, did_you_mean
from sadp_dist.errors import UsageError
from sadp_dist.passwords import without_password
from sadp_dist.registry import Registry

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

Self = TypeVar("Self", bound="Section")


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class _OneLineErrors(ModelMetaclass):
    """Makes ``SectionClass(...)`` raise UsageError, and return the class that has the options it names."""

    def __call__(cls, **values: Any) -> Any:  # noqa: N805 - a metaclass
        return cls.parse(values)  # type: ignore[attr-defined]


class OnlyWith:
    """Marks a field that has an effect only with some values of another field of the section.

        momentum: Annotated[float, Field(ge=0), OnlyWith("optimizer", "sgd")] = 0.9

    A section that sets it beside another value is refused, and `to_dict` leaves it out.

    Args:
        key: the other field.
        values: its values with which this field has an effect. If it is a list, one of them has to be in it.
    """

    def __init__(self, key: str, *values: Any) -> None:
        self.key, self.values = key, values

    def met(self, value: Any) -> bool:
        """Return whether the field has an effect beside this value of the other one."""
        return any(one in self.values for one in (value if isinstance(value, list | tuple) else [value]))


class Section(BaseModel, metaclass=_OneLineErrors):
    """A section of a configuration: its keys are the fields of a subclass.

    Declare a field with its type, its range and its default, and describe it under "Attributes:" in the
    docstring; the reference of the configuration is made from both::

        class NeuronConfig(Section):
            decay: Annotated[float, Field(gt=0, lt=1)] = 0.1

    A check of several keys is a ``@model_validator(mode="after")`` that raises ``UsageError``. Begin its
    message with ``key=value``.

    A section may choose a kind, which has options of its own. Set `kinds` and `kind_key`; the options of a
    kind are a subclass of the section, registered with the kind::

        class PruningConfig(Section):
            kinds = RULES
            kind_key = "method"
            method: str = "sadp"
            ratio: float = 0.5

        class RCAPConfig(PruningConfig):
            method: str = "rcap"
            temperature: float = 1.0

        RULES.register("rcap", RCAPConfig)(...)

        PruningConfig(method="rcap", temperature=2)     # an RCAPConfig
        PruningConfig(method="sadp", temperature=2)     # UsageError: temperature belongs to "rcap"

    A kind without options has the class of the section itself. `OnlyWith` marks a field that depends on the
    value of another one.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),
        arbitrary_types_allowed=True,
    )

    kinds: ClassVar[Registry[Any] | None] = None
    """The kinds that `kind_key` may name; None for a section without kinds."""
    kind_key: ClassVar[str] = ""
    """The key that names the kind."""

    @classmethod
    def parse(cls: type[Self], values: Any, source: str = "") -> Self:
        """Check the keys of a section, as a YAML file has them.

        Args:
            values: the keys with their values, sections in it as mappings.
            source: where they are from; errors begin with it.

        Returns:
            an instance of this class, or of the subclass that has the options of the kind that is named.

        Raises:
            UsageError: a key is not known or missing, or a value is not allowed.
        """
        try:
            kind = cls.kind_of(values)
            section: Self = kind.model_validate(values)
        except ValidationError as error:
            raise UsageError(_with_source(source, _first_problem(error, kind, values))) from None
        except UsageError as error:
            if not source:
                raise
            raise UsageError(_with_source(source, str(error))) from None
        return section

    @classmethod
    def kind_of(cls: type[Self], values: Any) -> type[Self]:
        """Return the class that checks these keys: that of the kind they name.

        Raises:
            UsageError: no kind has this name.
        """
        if cls.kinds is None or not isinstance(values, Mapping):
            return cls
        base = _base_of(cls)
        default = cls.model_fields[cls.kind_key].default
        name = values.get(cls.kind_key, default)
        if name is None or (name == default and name not in cls.kinds):
            return cls  # the kind without a thing, such as compression "none"
        check_choice(cls.kind_key, name, _kind_names(base))
        kind = cls.kinds.options(name) or base
        if cls not in (base, kind):
            raise UsageError(
                f'{cls.kind_key}="{name}" has not the options of {cls.__name__}; use {base.__name__} instead'
            )
        return kind  # type: ignore[return-value]

    @classmethod
    def keys_in_use(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of a saved section, and of the sections in it, without those that had no effect.

        Versions before 0.3 wrote the options of all kinds, used or not, and null for some defaults. A key or
        a kind that this version does not know stays, for `parse` to refuse.
        """
        try:
            kind = cls.kind_of(saved)
        except UsageError:
            return dict(saved)
        unused = options_of_kinds(kind).keys() - kind.model_fields.keys() | kind.without_effect(saved).keys()
        in_use = {}
        for key, value in saved.items():
            field = kind.model_fields.get(key)
            inner = section_in(field.annotation) if field is not None else None
            if inner is not None and isinstance(value, Mapping):
                in_use[key] = inner.keys_in_use(value)
            elif key not in unused and not (
                value is None and field is not None and field.default is not None
            ):
                in_use[key] = value
        return in_use

    def replace(self: Self, **changes: Any) -> Self:
        """Return a copy with other values, checked like a new section; keys that were not given stay so."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        section = type(self) if self.kinds is None else _base_of(type(self))
        return section.parse({**given, **changes})  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Return plain mappings, lists, strings and numbers, as `parse` reads them.

        Fields that have no effect are left out.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        unused = self.without_effect(values)
        return {name: _to_plain(value) for name, value in values.items() if name not in unused}

    @classmethod
    def without_effect(cls, values: Mapping[str, Any]) -> dict[str, OnlyWith]:
        """Return which of these keys have no effect beside the others, with what they need."""
        found = {}
        for name in values.keys() & cls.model_fields.keys():
            for needs in cls.model_fields[name].metadata:
                if isinstance(needs, OnlyWith):
                    default = cls.model_fields[needs.key].get_default(call_default_factory=True)
                    if not needs.met(values.get(needs.key, default)):
                        found[name] = needs
        return found

    def own_options(self) -> dict[str, Any]:
        """Return the options that only some kinds have, as plain values."""
        common = _base_of(type(self)).model_fields if self.kinds is not None else type(self).model_fields
        return {name: value for name, value in self.to_dict().items() if name not in common}

    @model_validator(mode="wrap")
    @classmethod
    def _choose_kind(cls: type[Self], values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if values is None:  # a section without keys in a YAML file
            values = {}
        kind = cls.kind_of(values)
        return handler(values) if kind is cls else kind.model_validate(values)

    @model_validator(mode="after")
    def _refuse_without_effect(self: Self) -> Self:
        off = (None, "none")
        given = {name: value for name in self.model_fields_set if (value := getattr(self, name)) not in off}
        for name, needs in sorted(self.without_effect(given).items()):
            raise UsageError(
                f"{name}={_shown(given[name])} has an effect only with {needs.key}="
                f"{' or '.join(map(_shown, needs.values))}, and {needs.key} is "
                f"{_shown(getattr(self, needs.key))}; remove {name}"
            )
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _take_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Accept the numbers of NumPy, and no truth value for a number."""
        if isinstance(value, bool):
            field = cls.model_fields[info.field_name or ""]
            if {int, float} & _scalars(field.annotation) and bool not in _scalars(field.annotation):
                raise PydanticCustomError("bool_for_number", "a truth value is not a number")
            return value
        if isinstance(value, Integral):
            return int(value)
        return float(value) if isinstance(value, Real) else value


def options_of_kinds(section: type[Section]) -> dict[str, list[str]]:
    """Return each option that some kinds of a section have, with the names of these kinds."""
    found: dict[str, list[str]] = {}
    if section.kinds is None:
        return found
    base = _base_of(section)
    for name in section.kinds:
        kind = section.kinds.options(name)
        for key in kind.model_fields if kind is not None else ():
            if key not in base.model_fields:
                found.setdefault(key, []).append(name)
    return found


def section_in(hint: Any) -> type[Section] | None:
    """Return the section class that a type hint is, or None."""
    return hint if isinstance(hint, type) and issubclass(hint, Section) else None


def section_in_list(hint: Any) -> type[Section] | None:
    """Return the section class of which a type hint is a list, or None."""
    return section_in(get_args(hint)[0]) if get_origin(hint) is list else None


def allowed_in_list(entry: type[Section]) -> str:
    """Return what a list of sections may be, in words."""
    return f"a list of sections with the keys {', '.join(entry.model_fields)}"


def _base_of(section: type[Section]) -> type[Section]:
    """Return the class that has the keys of all kinds in common."""
    base: type[Section] = next(kind for kind in section.__mro__ if "kinds" in kind.__dict__)
    return base


def _kind_names(section: type[Section]) -> list[str]:
    assert section.kinds is not None
    default = section.model_fields[section.kind_key].default
    return [*([] if default is None or default in section.kinds else [default]), *section.kinds]


def _scalars(hint: Any) -> set[Any]:
    """Return the types that a hint is made of."""
    arguments = get_args(hint)
    return {hint} if not arguments else set().union(*map(_scalars, arguments))


def _to_plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _to_plain(inner) for key, inner in value.items()}
    return [_to_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _shown(value: Any) -> str:
    """Return a value as a configuration has it."""
    return json.dumps(_to_plain(value))


def _with_source(source: str, message: str) -> str:
    return f"{source}: {message}" if source else message


def _first_problem(error: ValidationError, section: type[Section], values: Any) -> str:
    """Return the first mistake as a line. An unknown key may be why another one is missing."""
    problems = error.errors(include_url=False)
    unknown = [problem for problem in problems if problem["type"] in ("extra_forbidden", "invalid_key")]
    problem = unknown[0] if unknown and problems[0]["type"] == "missing" else problems[0]
    path: list[str] = []
    parts = iter(problem["loc"])
    for part in parts:
        path.append(str(part))
        field = section.model_fields.get(str(part))
        if field is None:
            return _unknown_key(path, section, values)
        values = values.get(part) if isinstance(values, Mapping) else None
        inner, entry = section_in(field.annotation), section_in_list(field.annotation)
        if entry is not None:
            number = next(parts, None)
            if not isinstance(number, int):
                return _wrong_value(problem, path, values, allowed_in_list(entry))
            path[-1] += f"[{number}]"
            inner, values = entry, values[number]
        if inner is None:
            return _wrong_value(problem, path, values, allowed_values(field.annotation, field.metadata))
        section = inner.kind_of(values) if problem["type"] != "value_error" else inner
    if problem["type"] == "missing":
        return f"section {'.'.join(path)} is missing; add it"
    if problem["type"] == "value_error":
        return _own_check(problem, path, section)
    where = ".".join(path) or "the configuration"
    return (
        f"{where}={without_password(repr(values))} is not a section; give keys of its own, "
        f"such as {next(iter(section.model_fields))}"
    )


def _unknown_key(path: list[str], section: type[Section], values: Any) -> str:
    *sections, key = path
    shown = without_password(repr(key))
    where = f" in section {'.'.join(sections)}" if sections else ""
    kinds = options_of_kinds(section)
    if key in kinds:
        name = section.kind_key
        found = values.get(name, section.model_fields[name].default) if isinstance(values, Mapping) else None
        others = " or ".join(f'{name}="{kind}"' for kind in kinds[key])
        prefix = "".join(f"{part}." for part in sections)
        return f'{prefix}{key} is an option of {others}, and {name} is "{found}"; remove {key}'
    known: Iterable[str] = section.model_fields
    hint = did_you_mean(key, known)
    return f"unknown key {shown}{where}{f'{hint} Known' if hint else '; known'} keys: {', '.join(known)}"


def _wrong_value(problem: ErrorDetails, path: list[str], value: Any, allowed: str) -> str:
    key = ".".join(path)
    if problem["type"] == "missing" and len(problem["loc"]) == len(path):
        return f"{key} is missing; give {allowed}"
    if problem["type"] == "value_error":
        return _own_check(problem, path, None)
    shown = without_password(repr(value))
    hint = did_you_mean(value, re.findall('"([^"]*)"', allowed)) if isinstance(value, str) else ""
    return f"{key}={shown} is not {allowed}{hint}"


def _own_check(problem: ErrorDetails, path: list[str], section: type[Section] | None) -> str:
    """Return the message of a check of several keys; a key that it begins with gets its section's name."""
    message = without_password(str(problem["ctx"]["error"]))
    if not path:
        return message
    key = message.partition("=")[0].partition("[")[0]
    known = section is not None and (key in section.model_fields or key in options_of_kinds(section))
    return f"{'.'.join(path)}{'.' if known else ': '}{message}"
