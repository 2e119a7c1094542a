"""A desk in a temporary folder: real database, real journal, real jobs, a real gateway on a real socket.

The state up to the first evening is made once and copied for each test.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from desk import FIRST, STEPS, Desk

from hrp_core.calendar import nyse
from hrp_core.market import SampleSource
from hrp_core.matching import Tape
from hrp_core.settings import Settings
from hrp_core.simgateway.server import GatewayServer
from hrp_core.store import migrate
from hrp_dagster.cli.gateway import sim_start
from hrp_dagster.environment import prepare_environment
from hrp_dagster.runs import run_job


@pytest.fixture(scope="session")
def tape() -> Tape:
    source = SampleSource()
    return Tape.from_frame(source.load(date(2021, 1, 4), source.last_session()))


@pytest.fixture(scope="session")
def open_desk(tape: Tape) -> Callable:
    @contextmanager
    def opened(home: Path) -> Iterator[Desk]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HRP_HOME", str(home))
            # Every session trades something: what small differences do is test_risk_limits' matter.
            patch.setenv("HRP_BAND_PCT", "0")
            patch.setenv("HRP_BAND_NAV_PCT", "0")
            settings = Settings()
            for name in ("DAGSTER_HOME", "HRP_DAGSTER_STATE"):
                patch.setenv(name, "")
            prepare_environment(settings)
            start = sim_start(settings)
            with GatewayServer(settings.gateway_dir, tape, start=start, cash=settings.sim_cash) as server:
                yield Desk(settings, server)

    return opened


@pytest.fixture(scope="session")
def first_evening(tmp_path_factory: pytest.TempPathFactory, open_desk: Callable) -> Path:
    """State at 17:30 of the first decision session, market data loaded."""
    home = tmp_path_factory.mktemp("template")
    with open_desk(home) as desk:
        migrate(desk.store)
        desk.run("history_job")
        run_job(
            desk.settings,
            "market_data_job",
            date(2022, 11, 1),
            through=nyse().previous(FIRST),
            only=("prices", "features"),
        )
        desk.run("market_data_job", FIRST)
    return home


@pytest.fixture(scope="session")
def home_at(first_evening: Path, tmp_path_factory: pytest.TempPathFactory, open_desk: Callable) -> Callable:
    """Folder of an installation that came as far as one of `STEPS`; made when first asked for."""
    homes = {"data": first_evening}

    def home(state: str) -> Path:
        if state not in homes:
            names = ["data", *STEPS]
            before = home(names[names.index(state) - 1])
            homes[state] = tmp_path_factory.mktemp(state)
            shutil.copytree(before, homes[state], dirs_exist_ok=True)
            with open_desk(homes[state]) as desk:
                STEPS[state](desk)
        return homes[state]

    return home


@pytest.fixture
def desk(
    request: pytest.FixtureRequest, home_at: Callable, tmp_path: Path, open_desk: Callable
) -> Iterator[Desk]:
    """A desk at 17:30 of 2022-12-02, its market data stored, or further on (`@pytest.mark.desk`)."""
    marker = request.node.get_closest_marker("desk")
    home = tmp_path / "home"
    shutil.copytree(home_at("data" if marker is None else marker.args[0]), home)
    with open_desk(home) as opened:
        yield opened
