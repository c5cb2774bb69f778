"""Chat templates are programs of a checkpoint's author: tried under limits before they are used.

transformers renders them in a sandbox, from which they reach nothing outside; but that lets them
loop and grow without end. Here one is rendered for a short question by an environment that counts:
passes through loops, characters and entries that are made, and seconds. What goes beyond `_limits`
is refused; any other fault is left to transformers, which knows more than this environment does.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from napari_pathreason.errors import ModelError

from ._limits import TEMPLATE, TEMPLATE_SECONDS

_KNOWN = {
    "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}],
    "add_generation_prompt": True,
    "enable_thinking": False,
    "visual_tokens": 1,
    "tools": None,
    "documents": None,
    "strftime_now": lambda form: "2026",
    **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<token>"),
}
"""What transformers gives a template, for a question about one picture."""
_WIDE = re.compile(r"\d{6}")
"""A field that is wider than any text in a form has need of."""


def check_template(template: object, name: str) -> None:
    """Refuse a chat template that does not end, or makes too much, of a short question.

    Parameters
    ----------
    template : object
        A tokenizer's: a text, several by their names, or none.
    name : str
        How the model is called.

    Raises
    ------
    ModelError
        If a limit is passed.
    """
    sources = template.values() if isinstance(template, Mapping) else (template,)
    for source in sources:
        if not isinstance(source, str):
            continue
        try:
            if len(source) > TEMPLATE:
                raise _TooMuch
            _render(source)
        except (_TooMuch, MemoryError) as error:
            raise ModelError(
                f"the chat template of the model {name} does not end, or makes too much of a short "
                "question; fetch the model from where it was released"
            ) from error
        except Exception:
            continue


def _render(source: str) -> None:
    budget = _Budget()
    environment = _Counting(budget)
    tree = _Counted().visit(environment.parse(source))
    for piece in environment.from_string(tree).generate(**_KNOWN):
        budget.spend(len(piece))


class _TooMuch(Exception):
    """It passed a limit."""


class _Budget:
    """What is left of the limits while a template is rendered."""

    def __init__(self) -> None:
        self._spent = 0
        self._end = time.thread_time() + TEMPLATE_SECONDS

    def spend(self, count: int = 1) -> None:
        """Count passes, or what was made; raises `_TooMuch`."""
        self._spent += count
        if self._spent > TEMPLATE or time.thread_time() > self._end:
            raise _TooMuch

    def each(self, values: Iterable[Any]) -> Iterator[Any]:
        """The same values, each of them a pass."""
        for value in values:
            self.spend()
            yield value

    def made(self, value: Any) -> Any:
        """The same value, whose size counts."""
        self.spend(_size(value))
        return value

    def bounded(self, value: Any, *others: Any) -> Any:
        """The first of some values; no operation makes more of them than their sizes' product."""
        if math.prod(map(_size, (value, *others))) > TEMPLATE:
            raise _TooMuch
        return value

    def join(self, *values: Any) -> str:
        """Values as one text."""
        for value in values:
            self.spend(_size(value))
        return "".join(map(str, values))


def _size(value: Any) -> int:
    if isinstance(value, int | float):
        return max(1, int(min(abs(value), TEMPLATE + 1)))
    return 1 + len(value) if isinstance(value, str | list | tuple | dict) else 1


class _Counted(NodeTransformer):
    """Leads loops, filters and joins of a template past the budget."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        """Each pass of a loop counts."""
        self.generic_visit(node)
        node.iter = _call("each", node.iter)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Expr:
        """What a filter is given and what it makes counts; that of a block has no value here."""
        self.generic_visit(node)
        if node.node is None:
            return node
        arguments = (*node.args, *(pair.value for pair in node.kwargs))
        node.node = _call("bounded", node.node, *arguments)
        return _call("made", node)

    def visit_Output(self, node: nodes.Output) -> nodes.Output:
        """What is written counts, also where it goes into a variable."""
        self.generic_visit(node)
        node.nodes = [
            one if isinstance(one, nodes.TemplateData) else _call("made", one) for one in node.nodes
        ]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        """What is joined counts."""
        self.generic_visit(node)
        return _call("join", *node.nodes)


def _call(method: str, *values: Any) -> nodes.Call:
    """A call of the budget, which templates reach by no name of their own."""
    budget = nodes.EnvironmentAttribute("budget")
    return nodes.Call(nodes.Getattr(budget, method, "load"), [*values], [], None, None)


class _Generation(Extension):
    """The block that marks what the model says, of which nothing but its body is wanted here."""

    tags = {"generation"}  # noqa: RUF012 - as jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body of the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Counting(ImmutableSandboxedEnvironment):
    """As transformers has it, with operators and calls led past the budget."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, budget: _Budget) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        self.budget = budget
        self.globals |= {"raise_exception": _refuse, "lipsum": _endless}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator, whose sizes count."""
        if operator == "+":
            self.budget.spend(_size(left) if isinstance(left, str | list | tuple) else 1)
        elif operator == "**":
            self.budget.bounded(*[left] * min(int(abs(right)), 64))
        else:
            self._check_widths(left)
            self.budget.bounded(left, right)
        return self.budget.made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A function or method, whose sizes count."""
        owner = getattr(obj, "__self__", None)
        if owner is self.budget:
            return obj(*args)
        self._check_widths(owner)
        self.budget.bounded(owner, *args, *kwargs.values())
        return self.budget.made(super().call(context, obj, *args, **kwargs))

    def _check_widths(self, form: Any) -> None:
        """Of fields in a text that may be one to fill in."""
        if isinstance(form, str) and _WIDE.search(form):
            raise _TooMuch


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _endless(*_: Any, **__: Any) -> None:
    """In place of jinja's own maker of sample text, of any length."""
    raise _TooMuch
