"""Things that a configuration names: pruning rules, scores, networks, datasets and so on.

A new one is a new file that registers it. A file outside the package does the same, see ``imports:``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.sections import Section

T = TypeVar("T")
S = TypeVar("S")


class Registry(MutableMapping[str, T]):
    """Maps names to things, such as "bptt" to a learning rule.

    Args:
        what: one of the things in words, such as "learning rule"; for messages.
        shipped: the module of each thing that the package brings, so that a configuration does not import
            all of them. "MODULE:CLASS" names the section class with its options, "MODULE" has no options.
    """

    def __init__(self, what: str, shipped: Mapping[str, str] | None = None) -> None:
        self.what = what
        self._shipped = dict(shipped or {})
        self._things: dict[str, T] = {}
        self._options: dict[str, type[Section]] = {}
        self._origins: dict[str, tuple[str, str | None]] = {}

    def register(self, name: str, options: type[Section] | None = None) -> Callable[[S], S]:
        """Return a decorator that registers a class or function under `name`.

        Args:
            name: what a configuration calls it.
            options: a subclass of the section that names it, with its own options as further keys.

        Raises:
            UsageError: the name belongs to another thing.
        """

        def decorate(thing: S) -> S:
            self.add(name, thing, options, origin=thing)  # type: ignore[arg-type]
            return thing

        return decorate

    def add(self, name: str, thing: T, options: type[Section] | None, origin: Any) -> None:
        """Register a thing that a decorator made of `origin`, a class or function."""
        module = self._shipped.get(name, "").partition(":")[0]
        known = self._origins.get(name, (module, None))
        found = (origin.__module__, origin.__qualname__)
        # A module may be imported a second time, and a module of the package registers what it ships.
        if known[0] and found not in (known, (module, found[1])):
            raise UsageError(
                f'{self.what} "{name}" exists already; choose a name that is not one of {", ".join(self)}'
            )
        self._things[name], self._origins[name] = thing, found
        if options is not None:
            self._options[name] = options

    def options(self, name: str) -> type[Section] | None:
        """Return the section class with the options of `name`; None if it has no options."""
        if name not in self._things and ":" in (place := self._shipped.get(name, "")):
            module, _, options = place.partition(":")
            found: type[Section] = getattr(import_module(module), options)
            return found
        return self._options.get(name)

    def __getitem__(self, name: str) -> T:
        if name not in self._things and name in self._shipped:
            import_module(self._shipped[name].partition(":")[0])  # which registers it
        return self._things[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self._things[name] = thing

    def __delitem__(self, name: str) -> None:
        self._things.pop(name, None)
        self._options.pop(name, None)
        self._origins.pop(name, None)
        self._shipped.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self._shipped

    def __iter__(self) -> Iterator[str]:
        return iter({**self._shipped, **self._things})

    def __len__(self) -> int:
        return len({**self._shipped, **self._things})
