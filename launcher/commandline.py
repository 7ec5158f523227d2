"""The typer side of the command table: a group that imports a command's module when it is called, not before."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command


def root(table: dict[str, tuple[str, str]], groups: set[str], head: str) -> Callable[..., Any]:
    """The root command over `{name: (module, help)}`; names in `groups` are sub-apps of their own."""

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
            return list(table)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
            if cmd_name not in table:
                return None
            module, help_text = table[cmd_name]
            return _load(module, cmd_name, help_text, group=cmd_name in groups)

    app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, pretty_exceptions_enable=False, help=head)
    app.callback()(lambda: None)
    return get_command(app)


def _load(module: str, name: str, help_text: str, *, group: bool) -> Any:
    loaded = import_module(module)
    if group:
        command = get_command(loaded.app)
    else:
        single = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        single.command(name=name, help=loaded.command.__doc__ or help_text)(loaded.command)
        command = get_command(single)
    command.name = name
    command.short_help = help_text
    return command
