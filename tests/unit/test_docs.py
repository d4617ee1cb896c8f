"""The documentation is complete and true: it has every command, option, setting and field."""

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer.main
from pydantic import BaseModel

from tuner.cli.app import app
from tuner.commands.experiments import searchable_parameters
from tuner.errors import SpecError
from tuner.families import resolve
from tuner.families.registry import BUILT_IN
from tuner.figures.registry import FIGURES
from tuner.settings import Settings
from tuner.study_file.data import DataSpec, Split
from tuner.study_file.load import loads, loads_all
from tuner.study_file.messages import written
from tuner.study_file.study import Confirm, ParameterSpec, StudySpec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DESK = ("CONTRIBUTING.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md")
LINKED = [*PAGES, *(ROOT / name for name in DESK)]
WRAPPED = [page for page in LINKED if page.name != "CHANGELOG.md"]  # its lines are merged
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
PATH = re.compile(r"`((?:tuner|tests|studies|benchmarks|migrations|tools)/[\w./*-]+)`")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@lru_cache(maxsize=1)
def documentation() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def commands() -> dict[str, Any]:
    """Every command by its full name: `tuner run`, `tuner db upgrade`."""
    by_name: dict[str, Any] = {}

    def walk(command: Any, name: str) -> None:
        if not hasattr(command, "commands"):
            by_name[name] = command
            return
        for word, inner in command.commands.items():
            walk(inner, f"{name} {word}")

    walk(typer.main.get_command(app), "tuner")
    return by_name


def is_documented(pattern: str) -> bool:
    return re.search(pattern, documentation()) is not None


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_is_documented(command: str) -> None:
    assert is_documented(rf"\b{command}\b"), f"no page mentions `{command}`"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    variable = f"TUNER_{name.upper()}"
    assert is_documented(f"`{variable}"), f"no page explains {variable}"


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_family_has_a_page_that_the_readme_links_to(name: str) -> None:
    links = re.findall(r"docs/families/(\w+)\.md", (ROOT / "README.md").read_text(encoding="utf-8"))
    pages = [ROOT / f"docs/families/{link}.md" for link in links]
    titles = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    assert any(f"`{name}`" in title for title in titles), (
        f"write docs/families/{name}.md, and link it"
    )


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_named_for_python(name: str) -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    assert re.search(rf"`\.?{name}(\(\))?`", page), f"docs/python.md does not name `{name}`"


@pytest.mark.parametrize("name", list(StudySpec.model_fields))
def test_every_section_of_study_files_is_documented(name: str) -> None:
    assert is_documented(rf"`{name}[`.:]"), f"no page explains `{name}`"


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_has_a_target(page: Path) -> None:
    broken = []
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_is_named_exists(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    tests = [f"tests/*/{name}" for name in re.findall(r"`(test_\w+\.py)`", text)]
    named = [*re.findall(PATH, text), *tests]
    assert [path for path in named if not any(ROOT.glob(path))] == []


def prose(page: Path) -> Iterator[str]:
    """The lines that can be wrapped: no code, tables, headings or pictures."""
    for line in CODE.sub("", page.read_text(encoding="utf-8")).splitlines():
        if not line.startswith(("|", "#", "![")) and " " in line.strip():
            yield line


@pytest.mark.parametrize("page", WRAPPED, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_wraps_at_100_characters(page: Path) -> None:
    assert [line for line in prose(page) if len(line) > 100] == []


def test_the_architecture_names_modules_that_exist_and_the_layers_of_the_contracts() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (
        contract["layers"]
        for contract in contracts["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    shown = page.partition("## Layers")[2].partition("```text\n")[2].partition("```")[0]
    assert shown.splitlines() == layers
    named = set(re.findall(r"`([a-z_]+/[\w./*-]*|[a-z_]+\.py)`", CODE.sub("", page)))
    outside = ("tests", "tools", "templates", "static", "study", "predict.py")
    inside = {path for path in named if path.split("/")[0] not in outside}
    assert len(inside) > 50
    assert [path for path in inside if not any((ROOT / "tuner").glob(path))] == []
    drawn = re.findall(r"[└┌] ([a-z_]+/\w+\.py)", page)
    assert [path for path in drawn if not (ROOT / "tuner" / path).exists()] == []


def test_targets_of_make_that_contributors_are_told_of_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"`make ([a-z]+)", page))
    assert {"quick", "test", "coverage"} <= named
    assert named <= set(targets)


def test_the_readme_shows_every_room_and_module() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("```text\ntuner/\n")[2]
    shown = re.findall(r"^  ([a-z_]+(?:\.py|/)) ", tree, re.MULTILINE)
    package = ROOT / "tuner"
    rooms = [f"{init.parent.name}/" for init in package.glob("*/__init__.py")]
    modules = [file.name for file in package.glob("*.py") if not file.name.startswith("__")]
    assert sorted(shown) == sorted([*rooms, *modules])


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+\s+(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def rows(page: str) -> dict[str, list[str]]:
    """The tables of a page: the first cell of a row, without its backquotes, → the other cells."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {first.strip("`"): rest for first, *rest in lines}


def fields(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of study files with its default, as the documentation writes them."""
    for name, field in model.model_fields.items():
        default = field.default
        if name == "split":
            yield from fields(Split, f"{before}split.")
        elif isinstance(default, BaseModel):
            yield from fields(type(default), f"{name}.")
        elif name == "data":
            yield from fields(DataSpec, "data.")
        elif name == "confirm":
            yield from fields(Confirm, "confirm.")
        elif name == "search":
            yield from fields(ParameterSpec, "search.*.")
        elif name not in ("forbidden", "enqueue"):  # lists, explained in prose
            shown = "–" if default in (None, ()) else f"`{written(default)}`"
            key = field.alias or name
            yield before + key, "required" if field.is_required() else shown


def test_the_page_of_study_files_has_every_field_with_its_default() -> None:
    documented = {name: cells[1] for name, cells in rows("study-file.md").items()}
    assert documented == dict(fields(StudySpec))


def test_the_page_of_settings_has_every_default() -> None:
    documented = {
        name: cells[0] for name, cells in rows("settings.md").items() if name[:6] == "TUNER_"
    }
    expected = {
        f"TUNER_{name.upper()}": "not set"
        if field.default is None
        else f"`{written(field.default)}`"
        for name, field in Settings.model_fields.items()
    }
    assert documented == expected


def options() -> list[tuple[str, str]]:
    """Every command with each of its options."""
    return [
        (name, option)
        for name, command in commands().items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    ]


@pytest.mark.parametrize(("command", "option"), options())
def test_every_option_is_explained_with_its_command(command: str, option: str) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = re.search(rf"^### `{command}`\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, f"cli.md has no section about `{command}`"
    assert f"`{option}" in section[1], f"cli.md does not explain {option} of `{command}`"


def test_the_table_of_commands_is_complete() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    table = page.partition("| To | Commands |")[2].partition("\n## ")[0]
    linked = {f"tuner {name}" for name in re.findall(r"\[([a-z ]+)\]\(#tuner-", table)}
    assert linked == set(commands())


def examples() -> list[str]:
    """The complete study files in the documentation."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"^```yaml\n(.*?)^```", pages, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if re.search("^name:", block, re.MULTILINE)]


def test_every_example_is_a_valid_study_file() -> None:
    assert examples()
    for text in examples():
        _, sources = loads_all(text, parameters=searchable_parameters)
        assert all(resolve(source).name for source in sources)


def test_the_error_that_the_page_shows_is_what_the_mistake_gives() -> None:
    page = (ROOT / "docs" / "study-file.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^reviews\.yaml:\d+: .*$", page, re.MULTILINE)
    (example,) = (text for text in examples() if "f1_macro" in text)
    with pytest.raises(SpecError) as error:
        loads(example.replace("trials:", "trails:"), name="reviews.yaml")
    assert str(error.value) == shown
