"""Names and addresses of machines: whether one is near, and the check of server.host.

server.host is the name or address that the server listens on, which has no scheme, port, brackets or path.
"""

import re
from ipaddress import ip_address
from typing import Final

# What a wrong host looks like → the message. The first that matches the whole.
_MISTAKES: Final = (
    (r"\s*", "is empty: write 127.0.0.1 for this machine only, or 0.0.0.0 for every network (with keys)"),
    (r"\w+://.*", "write a name or an address alone, without http:// and a path; the port goes into 'port'"),
    (r"\[.*\]", "write it without brackets, such as ::1"),
    (r"\[.*\]:\d+|[^:]+:\d*", "write a name or an address alone: the port goes into 'port'"),
    (r"\d+", "write a name or an address: the port goes into 'port'"),
    (r"\*", "write 0.0.0.0 for every network, or :: for IPv6 too"),
)
_EXPECTED: Final = "expected a name or an IP address of this machine, such as 127.0.0.1"
# Names of private networks (RFC 6762, 8375, ICANN's .internal) and reserved names (RFC 6761).
_NEAR = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".invalid")
_NAME = re.compile(r"(?!\d+(\.\d+)*$)[\w-]+(\.[\w-]+)*\.?")


def wrong_host(host: str) -> str:
    """Return what is wrong with a host to listen on, "" for nothing. Whether it exists is for the system to say."""
    for pattern, message in _MISTAKES:
        if re.fullmatch(pattern, host):
            return message
    try:
        ip_address(host)
    except ValueError:
        return "" if _NAME.fullmatch(host) else _EXPECTED
    return ""


def is_near(host: str) -> bool:
    """Whether a host is this machine, an address of a private network, or a name that only such a network has."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_NEAR)
    return address.is_loopback or address.is_private or address.is_link_local
