"""gunicorn's settings, the same as `ledgerd serve` uses, for those who start gunicorn themselves."""

import os

from service.config import Config
from service.server.gunicorn import settings

globals().update(settings(Config.from_env(os.environ)))
