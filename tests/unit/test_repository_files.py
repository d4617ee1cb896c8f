"""What GitHub reads: workflows, issue forms and the citation follow their schemas."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tuner

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(set(TEMPLATES.glob("*.yml")) - {TEMPLATES / "config.yml"})
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def errors(schema: str, *files: Path) -> str:
    """What check-jsonschema, with a schema that it brings, finds wrong with files."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def content(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [TEMPLATES / "config.yml"]),
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_follow_their_schema(schema: str, files: list[Path]) -> None:
    assert files
    assert errors(schema, *files) == ""


@pytest.mark.slow
def test_a_spelling_mistake_is_found(tmp_path: Path) -> None:
    form = content(FORMS[0])
    form["body"][1]["atributes"] = form["body"][1].pop("attributes")
    file = tmp_path / "form.yml"
    file.write_text(yaml.safe_dump(form))
    assert "atributes" in errors("vendor.github-issue-forms", file)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_have_few_rights_and_pinned_actions(workflow: Path) -> None:
    described = content(workflow)
    assert described["permissions"] == {"contents": "read"}
    steps = [step for job in described["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert [action for action in actions if not PINNED.fullmatch(action)] == []


def test_ci_runs_the_same_checks_as_everybody() -> None:
    steps = content(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_issue_forms_have_names_of_their_own() -> None:
    names = [content(form)["name"] for form in FORMS]
    assert sorted(names) == ["Bug", "Feature", "Question"]


def test_the_citation_names_this_version() -> None:
    assert content(ROOT / "CITATION.cff")["version"] == tuner.__version__
