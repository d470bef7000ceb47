"""What differs between hosts that speak one protocol: a table of data. A new host is a row, or three lines of YAML."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """One row. The user's configuration may override any field."""

    protocol: str = "openai"
    base_url: str = ""
    key_variable: str = ""  # the environment variable its documentation names; "" where no key is needed
    usage: bool = True  # takes stream_options.include_usage

    @property
    def remote(self) -> bool:
        """Whether there is an address to call; the built-in model has none."""
        return self.protocol != "echo"


HOSTS: dict[str, Host] = {
    "openai": Host(base_url="https://api.openai.com/v1", key_variable="OPENAI_API_KEY"),
    "echo": Host(protocol="echo"),
}
