"""Options that say nothing beside each other: refused where one of them would be passed over in silence."""

from collections.abc import Collection

import typer

from batchway.core.errors import SettingsError


class Said:
    """The options that were typed. (What a variable gives is meant for many commands, and may say nothing here.)"""

    def __init__(self, context: typer.Context) -> None:
        sources = {name: context.get_parameter_source(name) for name in context.params}
        self._names = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]

    def never_with(self, others: Collection[str], *names: str) -> None:
        """SettingsError where one of these was typed beside one of the others."""
        other = self._first(others)
        name = self._first(names)
        if name is not None and other is not None:
            raise SettingsError(f"{_flag(name)}: says nothing beside {_flag(other)}; leave one of them out.")

    def only_with(self, companions: Collection[str], *names: str) -> None:
        """SettingsError where one of these was typed without any of its companions."""
        name = self._first(names)
        if name is not None and self._first(companions) is None:
            flags = " or ".join(map(_flag, companions))
            raise SettingsError(f"{_flag(name)}: says nothing without {flags}; give it too, or leave it out.")

    def _first(self, names: Collection[str]) -> str | None:
        return next((name for name in names if name in self._names), None)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
