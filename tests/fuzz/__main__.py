"""``python -m tests.fuzz PATH [SECONDS]``: the schemathesis at PATH attacks a running gateway by its OpenAPI document.

The gateway runs in this process, on SQLite, with every channel at a sandbox and every limit off, for a limit that answers
429 hides what is behind it. Exit code 0 where nothing was found, else schemathesis's.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from gateway.api.keys.keys import Wanted
from gateway.api.keys.scopes import ALL
from gateway.app import Gateway, running
from gateway.config import Settings, load_settings
from gateway.events.log import configure
from gateway.sandbox import Sandbox
from gateway.serving import bind, serving

HERE: Final = Path(__file__).parent
#: Seconds in all, unless others are asked for; what is left over goes to calls that follow each other.
SECONDS: Final = "240"
#: Requests of each kind for each operation.
EXAMPLES: Final = 60

_LIMITS: Final = (
    "cooldown sends_per_10m sends_per_hour sends_per_day guesses_per_hour guesses_per_day context_per_hour "
    "prefix_per_hour ip_per_hour"
)


def settings_of(sandbox: Sandbox, folder: Path) -> Settings:
    """Return the settings of a gateway in ``folder`` whose providers are ``sandbox``. Raises ``ConfigError``."""
    off = "\n".join(f"{name} = 0" for name in _LIMITS.split())
    file = folder / "config.toml"
    file.write_text(f"""
[database]
url = "sqlite:///{folder}/fuzz.db"
[channels.sms]
adapter = "sms"
account_sid = "{sandbox.twilio.account_sid}"
from = "+15005550006"
base_url = "{sandbox.twilio.base_url}"
[channels.email]
adapter = "email"
host = "{sandbox.smtp.host}"
port = {sandbox.smtp.port}
tls = "none"
from = "codes@example.com"
[channels.telegram]
adapter = "telegram"
base_url = "{sandbox.telegram.base_url}"
[services.default]
channels = ["telegram", "sms", "email"]
[services.default.code]
custom = true
allow_guessable = true
[services.default.limits]
{off}
""")
    secrets = {"SMS__AUTH_TOKEN": sandbox.twilio.auth_token, "TELEGRAM__TOKEN": sandbox.telegram.token}
    port = {"OTP_GATEWAY_SERVER__PORT": "0"}
    return load_settings(file, {f"OTP_GATEWAY_CHANNELS__{name}": value for name, value in secrets.items()} | port)


async def attack(schemathesis: str, seconds: str, url: str, gateway: Gateway, folder: str) -> int:
    """Run schemathesis in ``folder`` with a key that may do everything; return its exit code."""
    key = await gateway.parts.keys.create("default", wanted=Wanted(ALL))
    program = [schemathesis, "--config-file", str(HERE / "schemathesis.toml"), "run"]
    bounds = ["--max-examples", str(EXAMPLES), "--max-time", seconds]
    run = await asyncio.create_subprocess_exec(
        *program, f"{url}/openapi.json", *bounds, cwd=folder, env={**os.environ, "FUZZ_KEY": key}
    )
    return await run.wait()


async def main(schemathesis: str, seconds: str = SECONDS) -> int:
    """Serve a gateway for as long as it is attacked; return the exit code."""
    with configure("json", "error"), tempfile.TemporaryDirectory(prefix="otp-gateway-fuzz-") as folder:
        async with Sandbox(magic_addresses=True) as sandbox:
            settings = settings_of(sandbox, Path(folder))
            with bind(settings.server) as listener:
                host, port = listener.getsockname()[:2]
                async with running(settings, sandbox=True) as gateway, serving(gateway, settings.server, listener):
                    return await attack(schemathesis, seconds, f"http://{host}:{port}", gateway, folder)


if __name__ == "__main__":
    # It runs in another folder, where it may leave its notes.
    program, *seconds = sys.argv[1:]
    sys.exit(asyncio.run(main(str(Path(program).absolute()), *seconds)))
