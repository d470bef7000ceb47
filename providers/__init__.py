"""Wire formats, pure: one module per protocol. PROVIDERS is the whole list."""

from . import echo, openai
from .contract import Call, Json, Provider, Translator, Upstream

PROVIDERS: dict[str, Provider] = {"openai": openai, "echo": echo}

__all__ = ["PROVIDERS", "Call", "Json", "Provider", "Translator", "Upstream"]
