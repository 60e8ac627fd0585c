"""What all tests share: the folder of real data, how hypothesis runs, and that compiled programs do not pile up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

# On a GPU too, sums are then taken in a fixed order. Large graphs train several times slower, small ones do not.
os.environ["XLA_FLAGS"] = f"--xla_gpu_deterministic_ops=true {os.environ.get('XLA_FLAGS', '')}".strip()

hypothesis.settings.register_profile("atjax", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("atjax")


@pytest.fixture(autouse=True)
def programs() -> Iterator[None]:
    """Drop what tests compiled, long before atjax itself would in the middle of one that counts compilations."""
    yield
    from atjax import compilation  # not before XLA_FLAGS are set

    compilation.make_room(20_000)


@contextmanager
def configured(**settings: bool) -> Iterator[None]:
    """With other settings of jax."""
    import jax  # as above

    before = {name: jax.config.read(name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@pytest.fixture(scope="module")
def unoptimised() -> Iterator[None]:
    """Programs of tests are small, and take longer to optimise than to run."""
    with configured(jax_disable_most_optimizations=True):
        yield


@pytest.fixture
def doubles(unoptimised: None) -> Iterator[None]:
    """All in float64; switched on for all threads, for `task_statistics` has its own."""
    with configured(jax_enable_x64=True):
        yield


@pytest.fixture
def as_users_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In float32, optimised and with nothing replaced, whatever the other tests of the module have."""
    monkeypatch.undo()
    with configured(jax_enable_x64=False, jax_disable_most_optimizations=False):
        yield


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for this run of the tests, never the user's; the processes that tests start share it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATJAX_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder that ATJAX_DATA names (relative to the repository root); skips the test where there is none."""
    name = os.environ.get("ATJAX_DATA")
    if not name:
        pytest.skip("set ATJAX_DATA to a folder of data sets to run this test")
    folder = Path(__file__).parent.parent / name
    if not folder.is_dir():
        pytest.skip(f"ATJAX_DATA={name} is no folder")
    return folder
