"""Wire formats, pure: one module per protocol. PROVIDERS is the whole list."""

from . import gemini
from .contract import Call, Json, Provider, Translator, Upstream

PROVIDERS: dict[str, Provider] = {"gemini": gemini}

__all__ = ["PROVIDERS", "Call", "Json", "Provider", "Translator", "Upstream"]
