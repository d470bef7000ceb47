"""Wire formats, pure: one module per protocol. PROVIDERS is the whole list."""

from . import anthropic, echo, gemini, openai
from .contract import Call, Json, Provider, Translator, Upstream

PROVIDERS: dict[str, Provider] = {"openai": openai, "anthropic": anthropic, "gemini": gemini, "echo": echo}

__all__ = ["PROVIDERS", "Call", "Json", "Provider", "Translator", "Upstream"]
