"""The headers of an upstream's answer, kept as they came: providers send two dozen, and a few of them are asked for."""

from collections.abc import Iterator, Mapping


class ResponseHeaders(Mapping[str, str]):
    """Names in any case → values, without the blanks around them; of several with one name, the first."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        """fields: the names are in lower case."""
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower().encode("latin-1")].strip(b" \t").decode("utf-8", "surrogateescape")

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        value = self._fields.get(name.lower().encode("latin-1"))
        return default if value is None else value.strip(b" \t").decode("utf-8", "surrogateescape")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower().encode("latin-1") in self._fields

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)
