"""What a template may say: Jinja with a short list of filters, no calls, no globals and bounded output.

Templates are written by operators, not by callers, yet values in them come from callers. The language is kept so
small that neither can read an attribute, run a function or fill the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from itertools import islice
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError, TemplateRuntimeError, UndefinedError
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import BlockReference, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Bytes a template's source may have: a mail is under 10 KB, and mailboxes clip above 102 KB.
MAX_SOURCE = 64 * 1024
#: Characters one rendered part may have.
MAX_OUTPUT = 64 * 1024
#: Pieces joined before the size is looked at again, so that joining stays the library's work and not a loop of ours.
_PIECES = 64
#: The filters a template may use. ``safe`` would switch escaping off; ``center``, ``indent``, ``format``,
#: ``join`` and ``replace`` can make a gigabyte of one line.
FILTERS = frozenset(
    {"abs", "capitalize", "count", "d", "default", "e", "escape", "first", "last", "length", "lower", "round"}
    | {"string", "title", "trim", "truncate", "upper", "urlencode"}
)
#: The largest number that may be multiplied; without a bound a few lines make one of a million digits.
_MAX_NUMBER = 10**9

_REFERENCES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class OutputTooLargeError(TemplateRuntimeError):
    """A rendered part would exceed ``MAX_OUTPUT``."""


class _Shelf(BaseLoader):
    """Serves ``include`` and ``extends`` from the compiled templates; nothing else can be reached."""

    def __init__(self) -> None:
        self.compiled: dict[str, Template] = {}

    def load(
        self,
        environment: Environment,  # noqa: ARG002 - jinja's signature
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002, ARG002 - jinja's signature
    ) -> Template:
        """Return the compiled template ``name``; ``refusals`` has seen to it that there is one."""
        return self.compiled[name]


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment all templates of one ``Templates`` are compiled in."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        self._shelf = _Shelf()
        super().__init__(
            loader=self._shelf,
            undefined=StrictUndefined,
            autoescape=is_html,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in FILTERS}

    def add(self, name: str, tree: nodes.Template, filename: str) -> Template:
        """Compile ``tree`` and let others include it as ``name``. Raises jinja's ``TemplateSyntaxError``."""
        code = self.compile(tree, name, filename)
        compiled = Template.from_code(self, code, self.globals)
        self._shelf.compiled[name] = compiled
        return compiled

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow a loop's counters and a template's own macros and blocks; values have members, not attributes."""
        own = isinstance(obj, (LoopContext, TemplateReference)) or isinstance(value, Macro)
        return own and super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        """Allow the template's own macros and blocks and nothing else."""
        return isinstance(obj, (Macro, BlockReference))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read a member of a mapping, never its methods: a caller's parameter may be called ``items``."""
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - jinja's signature
        """Calculate with small numbers and add short texts; ``'a' * 10**9`` would take the memory."""
        if _is_small_number(left) and _is_small_number(right) and operator != "**":
            return self.binop_table[operator](left, right)
        if not (operator == "+" and isinstance(left, str) and isinstance(right, str)):
            raise SecurityError(operator)
        if len(left) + len(right) > MAX_OUTPUT:
            raise OutputTooLargeError
        return left + right

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join what a template emits, and stop at ``MAX_OUTPUT``. Raises ``OutputTooLargeError``."""
        text, rest = "", iter(pieces)
        while some := list(islice(rest, _PIECES)):
            text += "".join(some)
            if len(text) > MAX_OUTPUT:
                raise OutputTooLargeError
        return text


def is_html(name: str | None) -> bool:
    """Whether a template's values are escaped: by its file's extension."""
    return name is not None and name.endswith(".html")


def _is_small_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= _MAX_NUMBER


def refusals(tree: nodes.Template, name: str, known: Callable[[str], bool]) -> Iterator[tuple[int, str]]:
    """Yield line and text of everything in ``tree`` that the language leaves out.

    ``known`` says whether a template of this name exists to be included.
    """
    for switch in tree.find_all(nodes.EvalContextModifier):
        yield switch.lineno, "escaping cannot be switched: it follows the file's extension"
    for joined in tree.find_all(nodes.Concat):
        yield joined.lineno, "'~' is not allowed: write {{ a }}{{ b }}"
    for reference in tree.find_all(_REFERENCES):
        fault = _reference_fault(reference, name, known)
        if fault:
            yield reference.lineno, fault


def _reference_fault(reference: nodes.Node, name: str, known: Callable[[str], bool]) -> str | None:
    target = getattr(reference, "template", None)
    if not isinstance(target, nodes.Const) or not isinstance(target.value, str):
        return "an included template must be named by a plain string"
    if not known(target.value):
        return f"no template {target.value!r} in the folders"
    if is_html(name) and not is_html(target.value):
        # A .txt file is compiled without escaping; inside HTML its values would become markup.
        return f"an .html file cannot include {target.value!r}"
    return None


def undeclared(tree: nodes.Template, allowed: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yield line and name of every variable ``tree`` reads that is neither set in it nor in ``allowed``."""
    missing = find_undeclared_variables(tree) - allowed
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name in missing:
            yield node.lineno, node.name


def members(tree: nodes.Template, variable: str) -> Iterator[str]:
    """Yield the members of ``variable`` that ``tree`` names, as in ``params.name`` or ``params["name"]``."""
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if isinstance(node.node, nodes.Name) and node.node.name == variable:  # type: ignore[attr-defined]
            key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)  # type: ignore[attr-defined]
            if isinstance(key, str):
                yield key


def explain(error: Exception) -> str:
    """Say why rendering failed, without a word of jinja's own text: that can quote values."""
    match error:
        case SecurityError():
            return "this is not allowed in a template"
        case UndefinedError():
            return "a value is not defined here (guard what a caller gives: params.name is defined)"
        case OutputTooLargeError():
            return f"more than {MAX_OUTPUT} characters"
        case RecursionError():
            return "templates or macros call each other without end"
        case _:
            return f"{type(error).__name__} while rendering"
