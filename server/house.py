"""What lives as long as the process: the configuration at work, who is inside, the pulse, the counters."""

import time

from gateway.config import Settings
from gateway.metrics import Metrics

from . import logs
from .admission import Admission
from .line import Pulse
from .listener import Front
from .live import Lives, make


class House:
    """Built inside the running loop, with the first configuration. agent: the User-Agent for upstreams.

    Raises OSError for a certificate file of the configuration that cannot be used.
    """

    def __init__(self, settings: Settings, log: logs.Log, agent: str) -> None:
        server = settings.config.server
        self.log, self._agent = log, agent
        self.lives = Lives(make(settings, agent))
        log.scrub = self.lives.now.scrub
        self.admission = Admission(server.at_once)
        self.metrics = Metrics()
        self.pulse = Pulse(server)
        self.pulse.each.append(self.admission.check)
        self.front: Front | None = None
        self.now = time.monotonic

    def use(self, settings: Settings) -> None:
        """Go by these settings from now on. Raises OSError; then nothing has changed."""
        live = make(settings, self._agent)
        self.lives.swap(live)
        self.log.scrub = live.scrub
        self.admission.bounds = settings.config.server.at_once
        self.pulse.set(settings.config.server)

    async def aclose(self) -> None:
        await self.pulse.aclose()
        await self.lives.aclose()
