"""A study keeps the sampler that it was launched with, whatever `auto` would choose by now."""

import pytest

from tests.support.searching import Trainer, search
from tuner.commands.changing import LaunchResult
from tuner.commands.launching import launch
from tuner.commands.preparing import PreparedStudy
from tuner.database.engine import Database
from tuner.errors import StudyExistsError
from tuner.families import resolve
from tuner.study_file.load import loads
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study

HEAD = (
    "name: x\nfamily: command\ncommand: [train]\nobjective: {metric: score, direction: maximize}\n"
    "search: {n: {low: 1, high: 12}}\n"
)


def run(database: Database, more: str) -> LaunchResult:
    return launch(database, PreparedStudy(resolve(loads(HEAD + more)), None, {}), resume=True)


def sampler(study: Study) -> tuple[str, bool]:
    """Its name, and whether it was chosen."""
    assert study.spec is not None
    stored = ResolvedSpec.from_json(study.spec).sampler
    return stored.name, stored.reason is not None


@pytest.mark.parametrize(("first", "name"), [(5, "gp"), (12, "grid")])
def test_another_budget_does_not_change_the_sampler(
    database: Database, first: int, name: str
) -> None:
    created = run(database, f"budget: {{trials: {first}}}")
    changed = run(database, "budget: {trials: 20}")

    assert sampler(created.study) == sampler(changed.study) == (name, True)
    assert changed.changes == (f"budget.trials: {first} → 20",)


def test_a_study_of_an_earlier_version_keeps_tpe(database: Database) -> None:
    run(database, "sampler: tpe")

    assert sampler(run(database, "").study) == ("tpe", False)


def test_a_sampler_that_is_named_now_is_another_definition(database: Database) -> None:
    run(database, "budget: {trials: 5}")

    with pytest.raises(StudyExistsError, match=r"\(sampler.name: gp → random\)"):
        run(database, "budget: {trials: 5}\nsampler: random")


def test_workers_draw_with_what_was_chosen(database: Database) -> None:
    study = run(database, "budget: {trials: 20}").study
    assert study.spec is not None
    trainer = Trainer(database, search(database, study.id, ResolvedSpec.from_json(study.spec)))
    for _ in range(12):
        trial = trainer.claim()
        assert trial is not None
        trainer.finish(trial)

    assert trainer.claim() is None
    assert trainer.search.used_up == "all 12 configurations of its space were tried"
