"""Families come from tuner and from installed packages; a broken one affects nothing else."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.family_packages import documented, install
from tuner import families
from tuner.database.serving import ActiveStudy
from tuner.errors import BadInputError, SpecError
from tuner.families import registry
from tuner.study_file.load import loads
from tuner.worker.consent import Consent

CARD = """
summary: One.
reference: None.
data: images
predictor: images
metrics: [accuracy]
epochs: 3
search: {hidden: [8, 16], learning_rate: 0.1, batch_size: 32, optimizer: adam}
"""
Install = Callable[..., None]


@pytest.fixture
def forget() -> Iterator[None]:
    """Read anew what is installed, before and after."""
    cached = (registry.card, registry._readable, registry._entry_points)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: None) -> Install:
    """Install a package with one family."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def install_family(
        name: str, card: str | None, module: str = "acme.ring", package: str = "acme"
    ) -> None:
        path = module.replace(".", "/")
        files = {
            # reading a card must import nothing of its package
            f"{module.partition('.')[0]}/__init__.py": "raise SystemExit('imported')\n",
            f"{path}.py": "raise SystemExit('imported')\n",
            **({} if card is None else {f"{path}.yaml": card}),
        }
        install(tmp_path, package, {name: module}, files)

    return install_family


def test_a_packages_family_is_found_without_importing_it(installed: Install) -> None:
    installed("ring", CARD)
    assert registry.names() == (*registry.BUILT_IN, "ring")
    card = registry.card("ring")
    assert (card.name, card.module, card.epochs) == ("ring", "acme.ring", 3)
    assert registry.package("ring") == ("acme", "1.0")
    assert registry.package("cnn") is None
    assert registry.problems() == {}
    spec = families.resolve(loads("name: x\nfamily: ring\ndata: digits"))
    assert spec.space.describe()["hidden"] == "8, 16"
    assert not {"acme", "acme.ring"} & sys.modules.keys()


@pytest.mark.parametrize(
    ("name", "card", "reason"),
    [
        ("ring", None, "its card {card} cannot be read (No such file or directory)"),
        ("ring", "a: [", "its card {card}:1: is not valid YAML: a bracket is opened, never closed"),
        ("ring", "- a", "its card {card} must hold a section of keys"),
        (
            "ring",
            f"{CARD}epochs: 4",
            "its card {card}:9: the key `epochs` appears twice (first in line 7)",
        ),
        (
            "ring",
            CARD.replace("metrics:", "metrcs:"),
            "its card {card}:6: unknown key `metrcs`; did you mean `metrics`?",
        ),
        (
            "ring",
            CARD.replace("data: images", "data: texts"),
            "its card {card}:4: data: must be one of images, text, corpus, pairs; is the text "
            "`texts`; did you mean `text`?",
        ),
        (
            "ring",
            CARD.replace("predictor: images", "predictor: image"),
            "its card {card}:5: predictor: must be bags, images, pairs, texts, vectors or the "
            "whole import path of a module, is `image`",
        ),
        ("Ring", CARD, "a name must consist of a-z, 0-9 and `_`, and start with a letter"),
        ("cnn", CARD, "tuner itself has a family of that name, which is used"),
    ],
)
def test_a_broken_family_is_one_sentence(
    installed: Install, tmp_path: Path, name: str, card: str | None, reason: str
) -> None:
    installed(name, card)
    where = reason.format(card=tmp_path / "acme" / "ring.yaml")
    expected = f"family `{name}` of the package acme 1.0 cannot be used: {where}"
    assert registry.problems() == {name: expected}
    assert registry.names() == registry.BUILT_IN
    assert registry.card("cnn").module == "tuner.families.cnn"
    if name == "cnn":
        return
    with pytest.raises(BadInputError) as caught:
        registry.card(name)
    assert str(caught.value) == expected
    with pytest.raises(SpecError) as refused:
        families.resolve(loads(f"name: x\nfamily: {name}\ndata: digits", name="s.yaml"))
    assert str(refused.value) == f"s.yaml:2: family: {expected}"


def test_two_packages_with_one_name_are_told(installed: Install) -> None:
    installed("ring", CARD)
    installed("ring", CARD, module="other.ring", package="other")
    assert registry.names() == registry.BUILT_IN
    assert registry.problems()["ring"].endswith(" has one of that name too; uninstall one of them")


def test_a_module_that_is_not_there_is_told(installed: Install, tmp_path: Path) -> None:
    installed("ring", CARD)
    (tmp_path / "acme" / "ring.py").unlink()
    assert registry.problems()["ring"].endswith("there is no module `acme.ring`")


def test_damaged_metadata_of_a_package_is_passed_over(installed: Install, tmp_path: Path) -> None:
    installed("ring", CARD)
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_text("[tuner.families]\nno equals sign\n")
    assert registry.names() == (*registry.BUILT_IN, "ring")


def test_a_family_that_is_gone_is_told(forget: None) -> None:
    with pytest.raises(BadInputError) as caught:
        registry.card("rng")
    assert str(caught.value) == (
        "the family `rng` is not installed; install the package that it comes with"
    )


def test_a_worker_leaves_studies_of_families_that_it_lacks(
    installed: Install, caplog: pytest.LogCaptureFixture
) -> None:
    installed("ring", CARD)
    installed("torn", None, module="torn.torn", package="torn")
    logging.getLogger("tuner").propagate = True  # a command line in this process has configured it
    consent = Consent(allow_code=False)
    studies = [
        ActiveStudy(number, f"of-{family}", family, 1)
        for number, family in enumerate(("ring", "cnn", "gone", "torn"))
    ]
    assert [consent.allows(study) for study in studies] == [True, True, False, False]
    assert [consent.allows(study) for study in studies] == [True, True, False, False]
    assert caplog.messages[0] == (
        "of-gone is not served: its family `gone` is not installed here; install the package that "
        "it comes with, and restart the worker"
    )
    assert caplog.messages[1].startswith("of-torn is not served: family `torn` of the package torn")
    assert len(caplog.messages) == 2  # each reason once


def test_the_documented_family_has_a_valid_card(installed: Install) -> None:
    installed("perceptron", documented()["acme_families/perceptron.yaml"])
    assert registry.card("perceptron").space.describe()["hidden"] == "8 … 256 (int, log)"
