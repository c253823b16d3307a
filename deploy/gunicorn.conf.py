"""gunicorn's settings, the same as `ledgerd serve` uses, for those who start gunicorn themselves."""

import os

from service.config import Config
from service.server.gunicorn import settings
from service.telemetry.logging import configure_logging

ledgerd = Config.from_env(os.environ)
configure_logging(ledgerd.log_level)
globals().update(settings(ledgerd))
