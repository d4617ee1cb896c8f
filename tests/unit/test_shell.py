"""Commands to paste: bash reads what was meant."""

import subprocess

import pytest

from tuner import shell

WORDS = (
    "plain", "my study", "it's", 'say "x"', "a`b`$(c)", "-dash", "--json", "new\nline", "\x1b[31m",
    "tab\tbell\x07", "back\\slash\n", "\x85\u202ertl", "müde", "", "x" * 300, "[red]", ";rm -rf",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS)
def test_bash_reads_the_word(word: str) -> None:
    script = f"printf '%s\\0' {shell.quote(word)}"
    process = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert process.stdout.decode() == word + "\0"
    assert shell.quote(word).isprintable()


def test_what_begins_with_a_dash_is_no_option() -> None:
    assert shell.command("retry", "my study", "3") == "tuner retry 'my study' 3"
    assert shell.command("retry", "-x", "3") == "tuner retry -- -x 3"
    trials = shell.command("trials", "-x", options=["--state", "failed"])
    assert trials == "tuner trials --state failed -- -x"
    assert shell.command("trials", "x", options=["--top", "2"]) == "tuner trials x --top 2"
    assert shell.command("db upgrade") == "tuner db upgrade"
