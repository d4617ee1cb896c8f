"""A resolved study as a file again: it resolves to the same study."""

import pytest

from tests.unit.test_reproduce import TEXTS  # a study file a family
from tuner.export import yaml_text
from tuner.families import confirm
from tuner.spec.file import study_file
from tuner.spec.load import loads


@pytest.mark.parametrize("name", list(TEXTS))
def test_the_file_of_a_study_launches_the_same_study(name: str) -> None:
    spec = confirm(loads(TEXTS[name]))
    assert confirm(loads(yaml_text(study_file(spec)))) == spec
