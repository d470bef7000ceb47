"""What a person who starts or checks the server wants to know: where it is, what is on, what is off, and a line to try."""

from textwrap import wrap
from typing import Final

from gateway.settings import Settings
from gateway.words import counted

_WIDTH = 110
FREE: Final = "echo"  # the built-in model, which costs nothing


def banner(settings: Settings, version: str, port: int) -> str:
    """The text printed at the start."""
    host = settings.config.server.host
    name = f"[{host}]" if ":" in host else host
    local = "127.0.0.1" if host in ("0.0.0.0", "::") else name  # noqa: S104
    lines = [f"ModelServer {version}  http://{name}:{port}/v1", f"  page http://{local}:{port}/", ""]
    lines += [f"  on   {provider}" for provider in settings.providers]
    if settings.off:
        lines.append(_one_line("  off  ", list(settings.off)))
        # The first that lacks one plain variable: an example of how to turn one on.
        variable = next((each for each in settings.off.values() if " " not in each), "")
        how = f"export {variable}=… and start again; " if variable else ""
        lines.append(f"       to turn one on: {how}`check -v` names the variables")
    lines.append(f"  keys {', '.join(caller.name for caller in settings.keys.values()) or 'none: this machine only'}")
    model = example_model(settings)
    key = ' -H "Authorization: Bearer $MODELSERVER_KEY"' if settings.keys else ""
    body = f'{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    lines += ["", f"Try: curl -N http://{local}:{port}/v1/chat/completions{key} -H 'Content-Type: application/json' \\"]
    lines += [f"       -d '{body}'", ""]
    return "\n".join(lines)


def example_model(settings: Settings) -> str:
    """Return the name of a model that can be called: echo where it is served, since it costs nothing."""
    public = settings.routes.public(("*",))
    if FREE in public or not (public or settings.providers):
        return FREE
    free = next((name for name, to in settings.providers.items() if to.host.protocol == FREE), "")
    return f"{free}/{FREE}" if free else next(iter(public), f"{next(iter(settings.providers), '')}/MODEL")


def summary(settings: Settings, verbose: bool) -> str:
    """What `check` says of a configuration without mistakes. verbose: with the variables that providers lack."""
    on = ", ".join(settings.providers) or "none"
    keys = counted(len(settings.keys), "key") if settings.keys else "no keys, this machine only"
    lines = [f"Providers: {on}. Callers: {keys}."]
    if settings.off and verbose:
        lines += [f"  off  {name}: set {variable}" for name, variable in settings.off.items()]
    elif settings.off:
        lines += _listed("  off  ", settings.off)
        lines.append("       `check -v` names the variables they lack")
    return "\n".join(lines)


def _one_line(head: str, names: list[str]) -> str:
    """Names behind a heading: as many as fit into a line, and how many more there are."""
    line = head + ", ".join(names)
    if len(line) <= _WIDTH:
        return line
    fit = line[: _WIDTH - len(f", and {len(names)} more")].rpartition(", ")[0]
    return f"{fit}, and {len(names) - fit.count(', ') - 1} more"


def _listed(head: str, names: object) -> list[str]:
    """Names behind a heading, in lines of bounded width."""
    assert hasattr(names, "__iter__")
    return wrap(
        ", ".join(names), _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    )
