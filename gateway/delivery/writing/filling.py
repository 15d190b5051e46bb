"""Filling in: a part in which the code stands as it is need not be rendered anew for every code.

It is rendered once for the other values, with a mark where the code goes, and then only filled in: 3.5 µs instead of 23
for the three parts of a mail (measured). What does anything else with the code is rendered each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from jinja2 import nodes

#: The value that is filled in.
CODE: Final = "code"
#: Changes by itself while a code lives: what shows it is rendered each time.
_SECONDS: Final = "seconds"
#: What goes out unchanged where it stands.
_FRAMES: Final = (nodes.Template, nodes.Block, nodes.If, nodes.Output)
#: What may bring the code in from elsewhere, and so must itself go out unchanged.
_BRINGERS: Final = (nodes.Block, nodes.Include)
#: The same, called by name.
_CALLED: Final = frozenset({"self", "super", "caller"})


def fillable(name: str, trees: Mapping[str, nodes.Template]) -> bool:
    """Whether the code stands in the template ``name``, and in all that it includes, only as ``{{ code }}``.

    Anything that could measure, compare, cut or change it says no.
    """
    needed, found = [name], {name}
    while needed:
        tree = trees[needed.pop()]
        if any(read.name == _SECONDS for read in tree.find_all(nodes.Name)) or not _plain(tree, shown=True):
            return False
        more = set(_references(tree)) - found
        found |= more
        needed += more
    return True


def _plain(node: nodes.Node, *, shown: bool) -> bool:
    """Whether nothing is done to the code in ``node``. ``shown``: what ``node`` emits goes out unchanged."""
    if isinstance(node, nodes.Name):
        return node.name not in _CALLED and (shown or node.name != CODE)
    if isinstance(node, _BRINGERS) and not shown:
        return False
    if shown and _is_block_call(node):
        return True
    inside = shown and isinstance(node, _FRAMES)
    condition = node.test if isinstance(node, nodes.If) else None
    return all(_plain(child, shown=inside and child is not condition) for child in node.iter_child_nodes())


def _is_block_call(node: nodes.Node) -> bool:
    """Whether ``node`` is ``self.<block>()`` or ``super()``: a block is looked at where it is defined."""
    if not isinstance(node, nodes.Call) or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
        return False
    called = node.node.node if isinstance(node.node, nodes.Getattr) else node.node
    return isinstance(called, nodes.Name) and called.name in {"self", "super"}


def _references(tree: nodes.Template) -> Iterator[str]:
    for reference in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        # ``template_language.refusals`` lets only plain strings through.
        if isinstance(target := reference.template, nodes.Const):  # type: ignore[attr-defined]
            yield target.value
