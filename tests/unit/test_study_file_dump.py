"""A resolved study as a file again: it resolves to the same study."""

import pytest

from tests.support.study_texts import TEXTS
from tuner.export import yaml_text
from tuner.families import resolve
from tuner.study_file.dump import dump
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec


def by_name(spec: ResolvedSpec) -> ResolvedSpec:
    """The study with its sampler named, as its file names it, instead of chosen."""
    return spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"reason": None})})


@pytest.mark.parametrize("name", list(TEXTS))
def test_the_file_of_a_study_launches_the_same_study(name: str) -> None:
    spec = resolve(loads(TEXTS[name]))
    assert resolve(loads(yaml_text(dump(spec)))) == by_name(spec)


@pytest.mark.parametrize("section", ["{}", "{top: 3}", "{seeds: 7, margin: 0.01}"])
def test_a_confirmation_is_kept_also_where_all_of_it_is_as_by_default(section: str) -> None:
    spec = resolve(loads(f"name: x\nfamily: cnn\ndata: digits\nconfirm: {section}"))
    assert spec.confirm is not None
    assert resolve(loads(yaml_text(dump(spec)))) == by_name(spec)
