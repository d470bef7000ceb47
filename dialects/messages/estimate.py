"""How many tokens a Messages request is likely to have. A stand-in until the real one is here."""

from ..contract import ClientRequest


def estimate(asked: ClientRequest) -> int:
    """Return the tokens of system, tools and messages, rather too many than too few."""
    size = sum(len(bytes(asked.raw[name])) for name in ("system", "tools", "messages") if name in asked.raw)
    return max(1, size * 11 // 40)
