"""Places of the package that do something else on CUDA, in mixed precision or in another memory format."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "sadp_dist"
ITSELF = PACKAGE / "selftest"
NAMES = {
    *("autocast", "channels_last", "cuda", "cuda_streams", "GradScaler", "is_autocast_enabled", "is_cuda"),
    *("non_blocking", "pin_memory", "ToDevice", "get_autocast_dtype", "is_nccl_available"),
}
COMPILED = {"torch", "node"}
"""What torch compiles, as opposed to regular expressions and numba."""


def branches() -> set[str]:
    """Return the places as "module:function", but for the self-test, which is made of them."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        if ITSELF not in file.parents:
            module = file.relative_to(PACKAGE).with_suffix("").as_posix()
            for function in branches_in(ast.parse(file.read_text(encoding="utf-8"))):
                found.add(f"{module}:{function}")
    return found


def branches_in(tree: ast.AST, inside: str = "") -> Iterator[str]:
    """Yield the qualified names of the functions and classes with such a place; "" is the module itself."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if _is_branch(node):
            yield inside
        name = getattr(node, "name", "")
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        yield from branches_in(node, f"{inside}.{name}".lstrip(".") if named else inside)


def _is_branch(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr="compile"):
            return owner in COMPILED
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.keyword(arg=name):
            return name in NAMES
        case ast.Constant(value=str(text)):
            return text == "cuda" or ("nccl" in text and " " not in text)
    return False
