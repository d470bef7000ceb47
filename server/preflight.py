"""End the process with one sentence when this Python cannot run the server. Imported first, before any other package.

It must be readable to old Pythons, and must not import what may be missing.
"""

import sys
from importlib.util import find_spec

PACKAGES = ("aiohttp", "aiohttp_sse_client", "httptools", "msgspec", "prometheus_client", "yaml")

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "modelserver: Python 3.11 or newer is needed, and this is {}.{} ({}).".format(  # noqa: UP032
            sys.version_info[0], sys.version_info[1], sys.executable
        )
    )
MISSING = [name for name in PACKAGES if find_spec(name) is None]
if MISSING:
    sys.exit(
        "modelserver: {} is not installed for {}: run '{} -m pip install -r requirements.lock', or start with the Python "
        "of the .venv that the README makes.".format(", ".join(MISSING), sys.executable, sys.executable)
    )
