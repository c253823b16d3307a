"""The application for gunicorn: `gunicorn -c deploy/gunicorn.conf.py wsgi:application`.

gunicorn imports this in each worker, after gevent has patched it.
"""

import os

from service.app import Application
from service.config import Config
from service.telemetry.logging import configure_logging

config = Config.from_env(os.environ)
configure_logging(config.log_level)
application = Application(config).open()
