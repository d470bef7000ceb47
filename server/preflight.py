"""End the process with one sentence when this Python cannot run the server. Imported first, before any other package.

It must be readable to old Pythons, and must not import what may be missing. Then it imports aiohttp, the quick way.
"""

import gc
import mimetypes
import os
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

# The cycle collector would walk all that the imports make, again and again: a tenth of the start. memory.tune_gc sets it anew.
gc.set_threshold(100_000)
# aiohttp reads the system's types of files on import, for files it could serve: 3 ms and 0.4 MB that nothing here needs.
mimetypes.knownfiles.clear()

# On import aiohttp makes two TLS contexts for clients that bring none, and reads all certificates that the system trusts for
# each: a sixth of the start. There they are few; a client here that needs them brings a context (outbound.dial.system_trust).
_FILE = os.environ.get("SSL_CERT_FILE")
os.environ["SSL_CERT_FILE"] = os.devnull
try:
    import aiohttp  # noqa: F401
finally:
    if _FILE is None:
        del os.environ["SSL_CERT_FILE"]
    else:
        os.environ["SSL_CERT_FILE"] = _FILE
