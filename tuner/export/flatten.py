"""A program and all that it needs of some packages as the text of one file: `predict.py`.

The file holds the very definitions that tuner trains with, as they stand in the sources of tuner
and of the family's own package, and no others: from a name to the names that its definition uses,
and so on. In annotations only names of other packages are followed: they are never evaluated.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tuner.errors import BadInputError
from tuner.families import registry

PACKAGE = "tuner"

_Import = ast.Import | ast.ImportFrom


@dataclass(frozen=True, slots=True)
class Flattened:
    """A program that imports nothing of the packages whose definitions it holds."""

    text: str
    needs: tuple[str, ...]  # packages that it imports, without those of the standard library


@dataclass(frozen=True)
class _Module:
    """A source file: what it defines at its top, and what it imports."""

    name: str
    lines: list[str]
    body: list[ast.stmt]
    definitions: dict[str, ast.stmt]
    imports: dict[str, tuple[_Import, ast.alias]]
    is_package: bool = False


@dataclass
class _Collector:
    """The definitions and imports collected so far."""

    packages: Sequence[str]  # whose definitions are copied; others are imported
    modules: dict[str, _Module] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)  # of each module; of "", modules
    sources: dict[str, str] = field(default_factory=dict)  # name → the module that defines it
    pieces: list[str] = field(default_factory=list)

    def module(self, name: str) -> _Module:
        """Parse a module, once."""
        if name not in self.modules:
            path = registry.source_file(name)
            source = path.read_text(encoding="utf-8")
            self.modules[name] = _parse(name, source, is_package=path.name == "__init__.py")
        return self.modules[name]

    def add(self, module_name: str, name: str) -> None:
        """Add the definition of a name and, before it, of those that it needs."""
        module = self.module(module_name)
        if name not in module.definitions and name in module.imports:  # one that it passes on
            self._add_import(module, *module.imports[name])
            return
        if name not in module.definitions:
            raise BadInputError(f"{module_name} defines no {name}")
        if name in self.sources:
            if self.sources[name] != module_name:
                raise BadInputError(f"{module_name} and {self.sources[name]} both define {name}")
            return
        self.sources[name] = module_name
        definition = module.definitions[name]
        self.add_used(module, definition)
        if (piece := _text(module, definition)) not in self.pieces:  # `A, B = …` defines two
            self.pieces.append(piece)

    def add_used(self, module: _Module, node: ast.stmt) -> None:
        """Add what a statement of a module uses."""
        for used in dict.fromkeys(_used(node)):
            if used in module.definitions:
                self.add(module.name, used)
            elif used in module.imports:
                self._add_import(module, *module.imports[used])
        for name in {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name)
        } & module.imports.keys():
            statement, alias = module.imports[name]
            if not self._is_copied(_source(module, statement, alias)):
                self._add_import(module, statement, alias)

    def _add_import(self, module: _Module, statement: _Import, alias: ast.alias) -> None:
        source = _source(module, statement, alias)
        if not self._is_copied(source):
            of = "" if isinstance(statement, ast.Import) else source
            self.imports.setdefault(of, set()).add(ast.unparse(alias))
        elif isinstance(statement, ast.Import) or alias.asname is not None:
            raise BadInputError(
                f"{module.name}, line {statement.lineno}: `{ast.unparse(statement)}`: of the "
                f"packages {' and '.join(self.packages)} only names can be imported here, each as "
                "it is (`from package.module import name`)"
            )
        else:
            self.add(source, alias.name)

    def _is_copied(self, source: str) -> bool:
        return source.partition(".")[0] in self.packages


def flatten(program: str, packages: Sequence[str] = (PACKAGE,)) -> Flattened:
    """Replace a program's imports of these packages by the definitions that they name.

    BadInputError names the module and the line of an import that cannot be replaced.
    """
    collector = _Collector(packages)
    main = _parse("__main__", program)
    rest = []
    for statement in main.body:
        if not isinstance(statement, _Import):
            collector.add_used(main, statement)
            rest.append(_text(main, statement))
    imports = collector.imports
    imported = {
        *(alias.partition(" ")[0].partition(".")[0] for alias in imports.get("", ())),
        *(module.partition(".")[0] for module in imports if module),
    }
    head = [f"import {name}" for name in sorted(imports.pop("", ()))]
    head += [f"from {of} import {', '.join(sorted(n))}" for of, n in sorted(imports.items())]
    text = "from __future__ import annotations\n\n" + "\n".join(head)
    for piece in (*collector.pieces, *rest):
        text += (
            "\n" if _is_line(piece) and _is_line(text.rpartition("\n\n")[2]) else "\n\n\n"
        ) + piece
    needs = sorted(imported - sys.stdlib_module_names)
    return Flattened(text + "\n", tuple(needs))


def parameters(module: str, function: str) -> tuple[str, ...]:
    """Return the names of a function's parameters, from the module's source."""
    definition = _Collector(()).module(module).definitions.get(function)
    if not isinstance(definition, ast.FunctionDef):
        raise BadInputError(f"{module} defines no function {function}")
    return tuple(parameter.arg for parameter in definition.args.args)


def _is_line(piece: str) -> bool:
    return "\n" not in piece and not piece.startswith(("from ", "import "))


def _source(module: _Module, statement: _Import, alias: ast.alias) -> str:
    """The absolute name of the module that an import names."""
    if isinstance(statement, ast.Import):
        return alias.name
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    base = parts[: len(parts) - statement.level + module.is_package]
    return ".".join([*base, *([statement.module] if statement.module else [])])


def _parse(name: str, source: str, *, is_package: bool = False) -> _Module:
    tree = ast.parse(source)
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, tuple[_Import, ast.alias]] = {}
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
    return _Module(name, source.splitlines(), tree.body, definitions, imports, is_package)


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
