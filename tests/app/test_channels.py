"""The channels and templates a gateway starts with, those of purposes too."""

from __future__ import annotations

import pytest

from gateway.app.channels import linking, load_templates, open_channels
from gateway.app.core import _confirm_within
from gateway.errors import ConfigError
from tests.config.samples import MINIMAL, load
from tests.world import Scripted, Talker

#: A service one of whose purposes sends by another channel.
PURPOSE = """
[channels.pager]
adapter = "console"
[services.shop]
[services.shop.purposes.login]
channels = ["pager"]
confirm_within = { pager = 7 }
"""


class Pager(Scripted):
    """A channel with a part that no template has."""

    parts = ("beeps.txt",)


def test_a_purposes_route_needs_its_templates_too(tmp_path):
    channels = {"console": Scripted("console", ["phone"]), "pager": Pager("pager", ["phone"])}
    channels["console"].settings = channels["console"].settings.model_copy(update={"adapter": "console"})
    assert set(load_templates(load(tmp_path), channels)) == {"default"}
    with pytest.raises(ConfigError, match=r"^\[services\.shop\]: channel pager: no template has all of beeps\.txt"):
        load_templates(load(tmp_path, MINIMAL + PURPOSE), channels)


def test_every_fault_of_every_services_templates_is_told_at_once(tmp_path):
    for folder, text in (("own", "{{ code"), ("others", "{% for %}")):
        (tmp_path / folder / "console" / "verification").mkdir(parents=True)
        (tmp_path / folder / "console" / "verification" / "body.txt").write_text(text)
    # The shop inherits what is broken: it is told once.
    more = (
        'templates = "own"\n[services.shop]\n[services.bank]\ntemplates = "others"\n[services.pub]\ntemplates = "no"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_templates(load(tmp_path, MINIMAL + more), {})
    own, others, missing = caught.value.faults
    assert own.startswith(f"{tmp_path}/own/console/verification/body.txt:1: ")
    assert others.startswith(f"{tmp_path}/others/console/verification/body.txt:1: ")
    assert missing == f"[services.pub] templates: there is no folder {tmp_path}/no; make it, or correct the key"


def test_a_folder_that_a_variable_names_is_told_by_the_variable(tmp_path):
    settings = load(tmp_path, MINIMAL, {"OTP_GATEWAY_SERVICES__DEFAULT__TEMPLATES": "/no/where"})
    with pytest.raises(ConfigError, match=r"^OTP_GATEWAY_SERVICES__DEFAULT__TEMPLATES: there is no folder /no/where;"):
        load_templates(settings, {})


def test_templates_are_compiled_once_for_all_that_share_their_folders(tmp_path):
    settings = load(tmp_path, MINIMAL + PURPOSE)
    channels = {name: Scripted(name, ["phone"]) for name in ("console", "pager")}
    for channel in channels.values():
        channel.settings = channel.settings.model_copy(update={"adapter": "console"})
    loaded = load_templates(settings, channels)
    first, second = loaded["default"], loaded["shop"]
    assert (first is second, first.files is second.files) == (False, True)


#: Whoever runs a container and says no public URL.
CONTAINER = """
[server]
host = "0.0.0.0"
[channels.sms]
adapter = "sms"
account_sid = "AC00000000000000000000000000000001"
from = "+15005550006"
[channels.telegram]
adapter = "telegram"
[services.default]
channels = ["sms"]
"""
SECRETS = {
    "OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    "OTP_GATEWAY_CHANNELS__TELEGRAM__TOKEN": "1:AAEC",
}


def test_no_provider_is_told_of_an_address_that_is_good_to_listen_on_alone(tmp_path):
    channels = open_channels(load(tmp_path, CONTAINER, SECRETS))
    assert [(channel.callback_url, channel.reports) for channel in channels.values()] == [(None, False)] * 2
    public = {"OTP_GATEWAY_SERVER__PUBLIC_URL": "https://otp.example.org"}
    sms = open_channels(load(tmp_path, CONTAINER, {**SECRETS, **public}))["sms"]
    assert (sms.callback_url, sms.reports) == ("https://otp.example.org/callbacks/sms", True)


def test_a_bot_that_would_be_heard_at_a_url_nobody_knows_is_refused(tmp_path):
    webhook = {"OTP_GATEWAY_CHANNELS__TELEGRAM__UPDATES": "webhook"}
    with pytest.raises(ConfigError) as caught:
        open_channels(load(tmp_path, CONTAINER, {**SECRETS, **webhook}))
    assert caught.value.faults == (
        "[channels.telegram]: what people write comes to [server] public_url, which is not set; set it",
    )


def test_each_purpose_says_how_long_it_waits_for_a_report(tmp_path):
    settings = load(tmp_path, MINIMAL + PURPOSE)
    asked = [("shop", "login", "pager"), ("shop", "login", "console"), ("shop", "pay", "pager"), ("gone", "login", "x")]
    assert [_confirm_within(settings, *item) for item in asked] == [7.0, None, None, None]


def test_the_first_configured_bot_hands_out_links():
    bots = {name: Talker(name, ["telegram"]) for name in ("late", "alt")}
    assert linking({"sms": Scripted("sms", ["phone"]), **bots}) is bots["late"]
    assert linking({"sms": Scripted("sms", ["phone"])}) is None
