"""How privacyIDEA is served: ``gunicorn --config gunicorn_settings.py``, in an environment of its own.

It prints its port. ``PRIVACYIDEA_CONFIGFILE`` leads to its ``pi.cfg``.
"""

from __future__ import annotations

import os
from typing import Any

bind = "127.0.0.1:0"
#: One a core: a request is nearly all computing.
workers = len(os.sched_getaffinity(0))
backlog = 2048
#: Seconds requests under way have at the end.
graceful_timeout = 1
#: It would lie in the home folder.
control_socket_disable = True
_config = os.environ["PRIVACYIDEA_CONFIGFILE"]
wsgi_app = f"privacyidea.app:create_app(config_name='production', config_file={_config!r}, silent=True)"


def when_ready(server: Any) -> None:
    """Print the port."""
    print(server.LISTENERS[0].sock.getsockname()[1], flush=True)
