"""The classes that a study file names as sampler or pruner: found without running any of them."""

from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path
from typing import Literal

from tuner.errors import Issue, SpecError
from tuner.study_file.code import Code
from tuner.study_file.messages import instead, quoted
from tuner.study_file.resolved import ResolvedSpec
from tuner.user_code import source

HUB = "optunahub"
_Role = Literal["sampler", "pruner"]
_ROLES: tuple[_Role, ...] = ("sampler", "pruner")


def find_classes(spec: ResolvedSpec, folder: Path) -> dict[_Role, Code]:
    """Return the code of those classes that lie in the study's folder; the others are installed.

    SpecError if one is in neither.
    """
    code: dict[_Role, Code] = {}
    problems: list[Issue] = []
    for role in _ROLES:
        path = getattr(spec, role).class_name
        if path is None:
            continue
        try:
            own = _find(path, folder if spec.code is None else spec.code.folder)
        except SpecError as error:
            sentence = error.issues[0].message if error.issues else str(error)
            problems.append(Issue((role, "class"), sentence))
        else:
            if own is not None:
                code[role] = own
    if problems:
        raise SpecError(issues=problems)
    return code


def _find(path: str, folder: Path) -> Code | None:
    module, _, name = path.partition(":")
    if module == HUB:
        if PathFinder.find_spec(HUB) is None:
            raise SpecError(
                "needs the package optunahub, which is not installed: `pip install optunahub`; it "
                "downloads the code from GitHub when a worker begins"
            )
        return None
    code = Code(folder=folder.absolute(), function=path)
    if source.find_module(folder, module) is not None:
        return code.model_copy(update={"fingerprint": source.fingerprint(code)})
    place = _installed(module)
    if place is None:
        raise SpecError(f"there is no module {quoted(module)} in {folder}, and none is installed")
    if place.suffix == ".py":
        names = set(source.defined_names(place))
        if not names & {"*", "__getattr__", name}:
            end = instead(name, sorted(n for n in names if n[:1].isupper()), of="it defines")
            raise SpecError(f"the installed {quoted(module)} defines no {quoted(name)}{end}")
    return None


def _installed(module: str) -> Path | None:
    """Return the file of an installed module, of which nothing is imported."""
    top, *rest = module.split(".")
    spec = PathFinder.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        for place in _places(Path(folder).joinpath(*rest)):
            if place.is_file():
                return place
    return None


def _places(base: Path) -> Iterator[Path]:
    yield base / "__init__.py"
    for suffix in (".py", *EXTENSION_SUFFIXES):
        yield base.with_name(base.name + suffix)
