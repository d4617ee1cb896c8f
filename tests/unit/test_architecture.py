"""What the import contracts in pyproject.toml cannot see: what a process really loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tuner"


def loaded(code: str, *candidates: str) -> list[str]:
    """Which of the packages a new process has loaded after running the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    return [name for name in candidates if name in modules]


@pytest.mark.slow
def test_the_command_line_and_a_worker_never_load_what_trains() -> None:
    code = "import tuner.cli.app, tuner.commands.exporting, tuner.export, tuner.worker.loop"
    assert loaded(code, "torch", "gensim", "scipy", "sklearn", "pandas", "pyarrow", "plotly") == []


@pytest.mark.slow
def test_help_waits_for_nothing_heavy() -> None:
    code = "import tuner.cli.app"
    assert (
        loaded(code, "torch", "numpy", "optuna", "plotly", "jinja2", "scipy", "PIL", "fastapi")
        == []
    )


@pytest.mark.slow
@pytest.mark.parametrize("module", ["tuner.trials", "tuner.errors", "tuner.study_file.load"])
def test_the_lower_layers_load_no_database(module: str) -> None:
    assert loaded(f"import {module}", "sqlalchemy", "psycopg2", "alembic", "numpy") == []


@pytest.mark.slow
def test_an_executor_loads_no_database_and_no_search() -> None:
    unwanted = ("sqlalchemy", "psycopg2", "optuna", "tuner.database", "tuner.search", "typer")
    assert loaded("import tuner.worker.executor", *unwanted) == []


def test_settings_alone_reads_the_environment() -> None:
    """`os.environ` and `os.getenv` anywhere else would be a setting that no document names."""
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "getenv"))
    }
    # those that a worker sets for users' commands are no settings
    assert readers == {"settings.py", "user_code/client.py"}


def test_nobody_waits_with_select() -> None:
    """`select.select` refuses descriptors from 1,024 on: `select.poll` and `selectors` do not."""
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "tests").rglob("*.py")]
    waiting = {
        path.name
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("select", "SelectSelector")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("select", "selectors")
    }
    assert waiting == set()


def test_no_model_brings_code_of_its_own() -> None:
    """Left open, transformers asks on the terminal whether to run what lies beside the weights."""
    loaders = 0
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr != "from_pretrained" or not owner.startswith("transformers."):
                continue
            loaders += 1
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert keywords.get("trust_remote_code") == "False", (path, node.lineno)
    assert loaders >= 5


# names that say how a value came about instead of what it is
TELL_NOTHING = frozenset({"found", "given", "made", "offered", "said", "seen", "told", "every"})


def test_locals_are_named_after_what_they_hold() -> None:
    """A reader who knows the field must not have to translate: mask, weights, rows, message …"""
    named = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            elif isinstance(node, ast.arg):
                name = node.arg
            else:
                continue
            if name.strip("_") in TELL_NOTHING:
                named.append(f"{path.relative_to(PACKAGE)}: {name}")
    assert named == ["export/verify.py: found"]  # of a check's JSON: expected, found
