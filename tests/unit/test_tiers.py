"""Quick tests, which `make quick` runs, keep to what makes them quick."""

import os
import subprocess

import pytest
import torch


def test_quick_tests_start_no_process() -> None:
    with pytest.raises(pytest.fail.Exception, match="mark it"):
        subprocess.run(["true"], check=True)
    with pytest.raises(pytest.fail.Exception, match="mark it"):
        os.fork()


@pytest.mark.slow
def test_slow_ones_may() -> None:
    subprocess.run(["true"], check=True)


def test_quick_tests_train_nothing() -> None:
    loss = torch.ones(1, requires_grad=True).sum()
    with pytest.raises(pytest.fail.Exception, match="mark it"):
        loss.backward()


def test_no_unit_test_asks_for_postgresql(request: pytest.FixtureRequest) -> None:
    unit = request.path.parent
    fixtures = {
        item.nodeid: item.fixturenames
        for item in request.session.items
        if unit in item.path.parents
    }
    assert request.node.nodeid in fixtures
    assert [name for name, used in fixtures.items() if "server" in used] == []
