"""A program and all that it needs of tuner as the text of one file: a bundle's `predict.py`.

The file holds the very definitions that tuner trains with, as they stand in its sources, and no
others: from a name to the names that its definition uses, and so on. In annotations only names of
other packages are followed: they are never evaluated.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "tuner"
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class _Module:
    """A source file: what it defines at its top, and what it imports."""

    lines: list[str]
    body: list[ast.stmt]
    definitions: dict[str, ast.stmt]
    imports: dict[str, tuple[ast.Import | ast.ImportFrom, ast.alias]]


@dataclass
class _Flat:
    """What has been taken so far."""

    modules: dict[str, _Module] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)  # of each module; of "", modules
    taken: dict[str, str] = field(default_factory=dict)  # name → the module that it is of
    pieces: list[str] = field(default_factory=list)

    def module(self, name: str) -> _Module:
        if name not in self.modules:
            path = _ROOT.joinpath(*name.split(".")[1:])
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            self.modules[name] = _parsed(path.read_text(encoding="utf-8"))
        return self.modules[name]

    def take(self, module: str, name: str) -> None:
        """Take the definition of a name and, before it, of those that it needs."""
        found = self.module(module)
        if name not in found.definitions:
            raise ValueError(f"{module} defines no {name}")
        if name in self.taken:
            if self.taken[name] != module:
                raise ValueError(f"{module} and {self.taken[name]} both define {name}")
            return
        self.taken[name] = module
        definition = found.definitions[name]
        self.take_used(found, definition, module)
        if (piece := _text(found, definition)) not in self.pieces:  # `A, B = …` defines two
            self.pieces.append(piece)

    def take_used(self, found: _Module, node: ast.stmt, module: str) -> None:
        """Take what a statement of a module uses."""
        for used in dict.fromkeys(_used(node)):
            if used in found.definitions:
                self.take(module, used)
            elif used in found.imports:
                self._import(*found.imports[used])
        for name in {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name)
        } & found.imports.keys():
            if not _is_ours(*found.imports[name]):
                self._import(*found.imports[name])

    def _import(self, statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        source = getattr(statement, "module", None) or alias.name
        if not _is_ours(statement, alias):
            of = "" if isinstance(statement, ast.Import) else source
            self.imports.setdefault(of, set()).add(ast.unparse(alias))
        elif isinstance(statement, ast.Import) or alias.asname is not None:
            raise ValueError(f"{ast.unparse(statement)}: only names can be taken, without another")
        else:
            self.take(source, alias.name)


def flattened(program: str) -> str:
    """The program, which imports names of tuner, as one that imports nothing of it."""
    flat = _Flat()
    main = _parsed(program)
    rest = []
    for statement in main.body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            flat.take_used(main, statement, "__main__")
            rest.append(_text(main, statement))
    head = [f"import {name}" for name in sorted(flat.imports.pop("", ()))]
    head += [f"from {of} import {', '.join(sorted(n))}" for of, n in sorted(flat.imports.items())]
    text = "from __future__ import annotations\n\n" + "\n".join(head)
    for piece in (*flat.pieces, *rest):
        text += (
            "\n" if _is_line(piece) and _is_line(text.rpartition("\n\n")[2]) else "\n\n\n"
        ) + piece
    return text + "\n"


def _is_line(piece: str) -> bool:
    return "\n" not in piece and not piece.startswith(("from ", "import "))


def _is_ours(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    source = getattr(statement, "module", None) or alias.name
    return str(source).partition(".")[0] == PACKAGE


def _parsed(source: str) -> _Module:
    tree = ast.parse(source)
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, tuple[ast.Import | ast.ImportFrom, ast.alias]] = {}
    for statement in tree.body:
        match statement:
            case ast.FunctionDef() | ast.ClassDef():
                definitions[statement.name] = statement
            case ast.Assign() | ast.AnnAssign():
                for node in ast.walk(statement):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        definitions[node.id] = statement
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    imports[bound] = statement, alias
    return _Module(source.splitlines(), tree.body, definitions, imports)


def _text(module: _Module, node: ast.stmt) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min(node.lineno, *(d.lineno for d in decorators)) if decorators else node.lineno
    return "\n".join(module.lines[first - 1 : node.end_lineno])


def _used(node: ast.AST) -> Iterator[str]:
    """The names from outside that a statement uses when it runs."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id
        return
    inner = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.arg)]
    if isinstance(node, ast.AnnAssign):
        inner = [part for part in (node.target, node.value) if part is not None]
    if isinstance(node, ast.arguments):
        inner = [*node.defaults, *(default for default in node.kw_defaults if default)]
    own: set[str] = set()
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        own = set(_bound(node))
        if isinstance(node, ast.FunctionDef):
            inner = [node.args, *node.body, *node.decorator_list]
    for child in inner:
        yield from (name for name in _used(child) if name not in own)


def _bound(function: ast.FunctionDef | ast.Lambda) -> Iterator[str]:
    """The names that are a function's own."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef) and node is not function:
            yield node.name
