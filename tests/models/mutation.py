"""Breaking one line of the product, on purpose, to see that the models notice."""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from types import FunctionType
from typing import NamedTuple


class Mutant(NamedTuple):
    """One change: in the function ``where`` ("module:Class.method") ``old`` becomes ``new``.

    ``breaks`` says in words what is wrong then, ``model`` which model must turn red.
    """

    name: str
    model: str
    breaks: str
    where: str
    old: str
    new: str


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The product with the change in it; every reference to the function sees it."""
    function = _function(mutant.where)
    code = function.__code__
    function.__code__ = changed(mutant).__code__
    try:
        yield
    finally:
        function.__code__ = code


def changed(mutant: Mutant) -> FunctionType:
    """The function with the change; fails unless the old text stands in it exactly once."""
    function = _function(mutant.where)
    source = textwrap.dedent(inspect.getsource(function))
    found = source.count(mutant.old)
    assert found == 1, f"{mutant.name}: {mutant.old!r} stands {found} times in {mutant.where}"
    compiled = compile(
        source.replace(mutant.old, mutant.new), mutant.where, "exec", __future__.annotations.compiler_flag
    )
    made: dict[str, object] = {}
    exec(compiled, function.__globals__, made)
    return _plain(made[function.__name__])


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    *parents, name = path.split(".")
    owner: object = reduce(getattr, parents, importlib.import_module(module))
    return _plain(inspect.getattr_static(owner, name))


def _plain(thing: object) -> FunctionType:
    thing = getattr(thing, "__func__", thing)  # a static method
    assert isinstance(thing, FunctionType), f"{thing!r} is no function"
    return thing
