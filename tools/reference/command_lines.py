"""Every program, command, option and exit code."""

import inspect
from collections.abc import Iterator

import click
from workspace import code, programs, table


def page() -> str:
    """The page."""
    parts = ["# Command lines\n"]
    for program in programs():
        parts += _described(program.command, (program.name,), 2)
        variable = f"_{program.name.upper().replace('-', '_')}_COMPLETE"
        parts.append(f"Completion for bash: `{variable}=bash_source {program.name}` prints it; `zsh_source` and")
        parts.append("`fish_source` do for these shells.\n")
    return "\n".join(parts)


def _described(command: click.Command, path: tuple[str, ...], depth: int) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path))
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"{'#' * min(depth, 4)} {' '.join(path)}\n"
    yield f"```text\n{' '.join(path)} {usage}".rstrip() + "\n```\n"
    yield from _text(command.help or "")
    rows = [_option(option, context) for option in command.params if isinstance(option, click.Option)]
    if rows:
        yield table(("Option", "Environment", "Default", "Meaning"), rows)
    yield from _text(command.epilog or "")
    if isinstance(command, click.Group):
        for name, each in sorted(command.commands.items()):
            yield from _described(each, (*path, name), depth + 1)


def _text(text: str) -> Iterator[str]:
    r"""Paragraphs; one that begins with \b keeps its lines."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.split("\n")[1:]
            yield f"{lines[0]}\n\n```text\n" + "\n".join(line.strip() for line in lines[1:]) + "\n```\n"
        elif paragraph.strip():
            yield " ".join(paragraph.split()) + "\n"


def _option(option: click.Option, context: click.Context) -> tuple[str, ...]:
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag or option.is_bool_flag else f" {option.make_metavar(context)}"
    variables = option.envvar if isinstance(option.envvar, (list, tuple)) else [option.envvar or ""]
    default = option.default if type(option.default) in (str, int) and not option.is_flag else ""
    return names + metavar, " ".join(map(code, variables)), code(str(default)), option.help or ""
