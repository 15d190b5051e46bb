"""Linting every template there is, shipped and of each service: for ``templates lint`` and for ``doctor``."""

from __future__ import annotations

from collections.abc import Callable

from channels.base import Channel, UnknownAdapterError, load
from gateway.config import ServiceSettings, Settings, shipped
from gateway.delivery.writing.linting import LONGEST_BRAND, LONGEST_CODE, Finding, Severity, lint
from gateway.delivery.writing.templating import BrokenTemplatesError, TemplateFile, Templates
from gateway.verification.codes import DIGITS, example


def linted(
    settings: Settings, brand: str | None = None, *, skipped: Callable[[str], None] = lambda _: None
) -> tuple[list[Finding], int]:
    """Return the findings in the shipped templates and in every service's, and how many templates there are.

    They are measured with ``brand``, each service's own name unless given. ``skipped`` is told of adapters that are not
    looked at.
    """
    found: dict[Finding, None] = {}
    sets: set[tuple[str, str, str]] = set()
    for owner in (None, *settings.services.values()):
        name = brand or (owner.name if owner else LONGEST_BRAND)
        try:
            templates = templates_of(owner)
        except BrokenTemplatesError as error:
            found |= dict.fromkeys(Finding(str(f.path), f.line, Severity.ERROR, f.text) for f in error.faults)
            continue
        sets |= {set_key(file) for file in templates.files}
        found |= dict.fromkeys(
            lint(templates, _channels(settings, templates, skipped), brand=name, code=_longest_code(owner))
        )
    return sorted(found, key=lambda finding: (finding.file, finding.line or 0, finding.text)), len(sets)


def _longest_code(owner: ServiceSettings | None) -> str:
    """Return the longest code that a service's policies make, as it is shown; of digits, what a request may ask for."""
    policies = [owner.code, *(purpose.code for purpose in owner.purposes.values())] if owner else []
    codes = [example(code.length, code.alphabet) for code in policies if code.alphabet != DIGITS]
    return max([LONGEST_CODE, *codes], key=len)


def _channels(
    settings: Settings, templates: Templates, skipped: Callable[[str], None]
) -> dict[str, tuple[str, type[Channel]]]:
    """Return the configured channels, and every adapter that templates are there for and that can be loaded."""
    adapters = {name: name for name in sorted({file.channel for file in templates.files})}
    adapters |= {name: channel.adapter for name, channel in settings.channels.items()}
    found: dict[str, tuple[str, type[Channel]]] = {}
    for name, adapter in adapters.items():
        try:
            found[name] = (adapter, load(adapter))
        except UnknownAdapterError:
            # The lint names folders that nothing knows; start-up refuses a section with such an adapter.
            continue
        except ImportError as error:
            skipped(f"{name}: not looked at, {error.name} is not installed")
    return found


def templates_of(owner: ServiceSettings | None) -> Templates:
    """Return a service's templates before the shipped ones; the shipped ones alone for nobody's. Raises ``TemplateError``."""
    own = [owner.templates] if owner and owner.templates else []
    return Templates([*own, shipped("templates")])


def set_key(file: TemplateFile) -> tuple[str, str, str]:
    """Return what the files of one template of one folder have in common."""
    return file.channel, file.template, str(file.folder)
