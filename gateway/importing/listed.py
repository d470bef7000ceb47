"""Write the models that a host has listed as a configuration."""

from collections.abc import Iterable

from providers.contract import Json
from providers.hosts import Host

from .result import Imported, Left


def convert(name: str, host: Host, base_url: str, ids: Iterable[str]) -> Imported:
    """Return a provider with its models under the names that they have there.

    name: of the provider; base_url: where the list came from; ids: of its models.
    """
    provider: Json = {"api_key": f"${{{host.key_variable}}}"} if host.key_variable else {}
    if base_url != host.base_url:
        provider["base_url"] = base_url
    left = [] if host.free else [
        Left("prices", "a list of models is not where they are taken from", "Run `python modelserver.py models update`, which "
             "knows those of most hosts: without a price a key with a budget may not use a model")
    ]  # fmt: skip
    models = {id: f"{name}/{id}" for id in ids if "*" not in id}
    return Imported({"providers": {name: provider}, "models": models}, left)
