"""Every public name is documented, with an example that runs."""

from __future__ import annotations

import doctest
import inspect
import sys

import pytest

import adaptface_jax as af

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL

PUBLIC = [name for name in af.__all__ if name != "__version__"]

# What a user calls on an opened model; the other methods are shown by their class.
METHODS = ("embed", "embed_batches", "verify", "index", "load_index")


def examples_of(thing: object, name: str) -> list[doctest.DocTest]:
    module = sys.modules[thing.__module__]
    found = doctest.DocTestFinder(recurse=False).find(thing, name, module=module, globs={})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", [*PUBLIC, *(f"FaceModel.{method}" for method in METHODS)])
def test_the_example_runs(name):
    thing = af
    for part in name.split("."):
        thing = getattr(thing, part)
    tests = examples_of(thing, name)
    assert tests, f"{name} has no example"
    output: list[str] = []
    for test in tests:
        assert doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=output.append).failed == 0, "".join(output)


def test_every_public_method_has_a_docstring():
    for name in PUBLIC:
        thing = getattr(af, name)
        members = inspect.getmembers(thing, lambda member: inspect.isfunction(member) or isinstance(member, property))
        for method, member in members if inspect.isclass(thing) else ():
            assert method.startswith("_") or member.__doc__, f"{name}.{method}"
