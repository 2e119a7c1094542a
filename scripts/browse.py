"""Click through the web UI as a person would, over a real `hrp dev`, and keep what it looks like.

`make browse` runs it: a fresh installation in a temporary folder, an evening launched from the UI, a bad
price on purpose, and assertions on the text of each page. What does not belong here: the browser
(`devtools`), and what has to hold without a screen (tests).
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import pandas as pd
from devtools import Browser, BrowserError, find_chromium

from hrp_core.calendar import nyse
from hrp_core.errors import HrpError
from hrp_core.market.sources import SAMPLE_FILE
from hrp_core.settings import PROJECT_ROOT, Settings

LOCATION = "hrp_dagster.definitions"
GROUPS = (
    *("market_data", "features", "models", "predictions"),
    *("portfolio", "execution", "book", "monitoring"),
)
BAD_SYMBOL = "AAPL"
LARGEST_PICTURE = 250_000
# The daemon looks at schedules once a minute, and the run itself takes seconds.
SCHEDULED_RUN_SECONDS = 240.0
START_SECONDS = 180.0
_WIDE = (1440, 1000)
_LOCATIONS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }"
_FAILED_RUNS = """{ runsOrError(filter: {statuses: [FAILURE, CANCELED]}) {
    ... on Runs { results { jobName runId } } } }"""
_FAILED_TICKS = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
    schedules { name scheduleState { ticks(limit: 500, statuses: [FAILURE]) { error { message } } } }
    sensors { name sensorState { ticks(limit: 500, statuses: [FAILURE]) { error { message } } } } } } } }"""


class Desk:
    """A fresh installation with its commands and its web UI.

    Args:
        home: an empty folder, its HRP_HOME.
        port: of the web UI.
    """

    def __init__(self, home: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._home = home
        # Settings of this shell, or a .env, must not decide what is looked at.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HRP_", "IBKR_"))}
        kept["PYTHONPATH"] = str(PROJECT_ROOT)
        self._environment = {**kept, "HRP_HOME": str(home), "HRP_ENV_FILE": str(home / "no-settings")}

    def hrp(self, *arguments: str, expect: int = 0, **settings: str) -> str:
        """Run one `hrp` command and return what it printed.

        Raises:
            HrpError: its exit code is not `expect`.
        """
        say(f"hrp {' '.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "hrp_dagster.cli", *arguments],
            env={**self._environment, **settings},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != expect:
            raise HrpError(
                f"`hrp {' '.join(arguments)}` ended with exit code {done.returncode}, not {expect}:\n"
                f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done.stdout

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run `hrp dev` (simulated gateway, web server, daemon) until the block ends.

        Raises:
            HrpError: the UI did not answer; the message has the end of its log.
        """
        log = self._home / "dev.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "hrp_dagster.cli", "dev", "--port", str(self._port)],
                env=self._environment,
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                end = time.monotonic() + START_SECONDS
                while not self._answers():
                    if process.poll() is not None or time.monotonic() > end:
                        raise HrpError(f"`hrp dev` did not serve {self.url}:\n{log.read_text()[-3000:]}")
                    time.sleep(0.5)
                yield
            finally:
                process.send_signal(signal.SIGINT)
                process.wait()
        for trouble in ("database is locked", "Traceback"):
            if trouble in log.read_text():
                raise HrpError(f"the log of `hrp dev` says {trouble!r}:\n{log.read_text()[-6000:]}")

    def query(self, text: str) -> dict[str, object]:
        """Return the answer of the UI's own server to a GraphQL query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": text}).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def succeeded(self, job: str, session: date) -> bool:
        """Return whether a run of `job` for `session` has succeeded."""
        filters = (
            f'{{pipelineName: "{job}", statuses: [SUCCESS], '
            f'tags: [{{key: "dagster/partition", value: "{session}"}}]}}'
        )
        return "runId" in json.dumps(
            self.query(f"{{ runsOrError(filter: {filters}) {{ ... on Runs {{ results {{ runId }} }} }} }}")
        )

    def _answers(self) -> bool:
        try:
            # Up only counts once the definitions are loaded.
            return LOCATION in json.dumps(self.query(_LOCATIONS))
        except OSError:
            return False


def say(line: str) -> None:
    """Tell the person who waits what happens."""
    print(f"  {line}", flush=True)


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(page: Browser, desk: Desk, job: str, session: date) -> None:
    """Start a job for one session from its page, and follow its run until it has succeeded.

    Raises:
        HrpError: it failed.
    """
    say(f"{job} of {session}, from the UI")
    page.goto(f"{desk.url}/locations/{LOCATION}/jobs/{job}")
    page.click_until("Materialize all…", "Partition selection")
    page.fill("ex:", str(session))
    page.wait_for("1 partition")
    # A warning that arrives late moves the button from under the mouse.
    page.click_until("Launch 1 run", "Launched run")
    told = re.search(r"launched run (\w+)", page.text(), re.IGNORECASE)
    assert told is not None
    page.goto(f"{desk.url}/runs")
    page.click_until(told[1], "View tags and config")

    def ended() -> bool:
        lines = page.text().splitlines()
        if "Failure" in lines or "Canceled" in lines:
            raise HrpError(f"{job} of {session}, launched from the UI, failed:\n{page.text()[-3000:]}")
        return "Success" in lines

    page.wait_until(ended, f"the end of {job}", seconds=300)


def show_graph(page: Browser, desk: Desk, pictures: Path) -> None:
    """Look at the whole asset graph, groups open, and picture it alone."""
    say("the asset graph")
    page.goto(desk.url)
    page.wait_for("Overview")
    # Top to bottom and little but names: as wide as a column of text, and readable there.
    page.run("localStorage.setItem('asset-graph-direction', '\"vertical\"')")
    page.run("localStorage.setItem('asset-node-facets', '[\"kind-tag\"]')")
    page.resize(1500, 1500, scale=1.25)
    expanded = ",".join(f"global%40global%3A{group}" for group in GROUPS)
    page.goto(f"{desk.url}/asset-groups?expanded={expanded}")
    page.wait_for(
        "universe", "features", "target_portfolio", "trade_gate", "orders", "reconciliation", *GROUPS
    )
    page.wait_until(lambda: page.run(_GRAPH_BOX), "the graph")
    # Its camera flies to where everything is visible.
    seen: list[float] = []

    def stands() -> bool:
        before, seen[:] = list(seen), page.run(_GRAPH_BOX)
        return before == seen

    page.wait_until(stands, "a graph that stands still")
    time.sleep(5)  # the colours of the states come in batches, after the names
    x, y, width, height = seen
    picture(page, pictures / "asset-graph.png", (x - 12, y - 12, width + 24, height + 24))
    page.resize(*_WIDE)
    page.run("localStorage.removeItem('asset-graph-direction')")
    page.run("localStorage.removeItem('asset-node-facets')")


# The drawing without the menus that lie over it, and the size at which everything is in sight.
_GRAPH_BOX = """(() => {
    const svg = [...document.querySelectorAll('svg')]
        .filter(each => each.querySelector('foreignObject'))
        .sort((a, b) => b.getBoundingClientRect().height - a.getBoundingClientRect().height)[0];
    if (!svg) return null;
    const boxes = [...svg.querySelectorAll('foreignObject')]
        .map(each => each.getBoundingClientRect()).filter(box => box.width > 0);
    const left = Math.min(...boxes.map(box => box.left)), top = Math.min(...boxes.map(box => box.top));
    const right = Math.max(...boxes.map(box => box.right));
    const bottom = Math.max(...boxes.map(box => box.bottom));
    return [left, top, right - left, bottom - top];
})()"""


def show_orders(page: Browser, desk: Desk, session: date, pictures: Path) -> None:
    """Look at the orders of one session and their table."""
    say(f"the orders of {session}")
    page.goto(f"{desk.url}/assets/orders?view=partitions&partition={session}")
    page.wait_for(
        "Materialized", "live_trader_job", "by_status", "reference_price", "market", "buy", "filled"
    )
    reveal(page, "Metadata")
    picture(page, pictures / "orders.png")


def show_nav(page: Browser, desk: Desk, session: date, pictures: Path) -> None:
    """Look at the net asset value: the numbers over the sessions, and the embedded plot."""
    say("the net asset value")
    page.goto(f"{desk.url}/assets/nav?view=overview")

    def plotted() -> bool:
        # A page that still lays itself out swallows a click, of either button.
        page.click("Plots", kinds="button")
        with suppress(BrowserError):
            # By partition Dagster (1.13) finds none where the partitions end before today, as in sim.
            page.click("Events", kinds="button", seconds=3)
            time.sleep(2)
        return page.run("document.querySelectorAll('canvas').length") >= 5

    page.wait_until(plotted, "five plots")
    page.goto(f"{desk.url}/assets/nav?view=partitions&partition={session}")
    page.wait_for("book_job", "nav_plot", "daily_return")
    page.click("[Show Markdown]")
    page.wait_until(
        lambda: page.run("[...document.images].some(each => each.naturalWidth > 400)"), "the embedded plot"
    )
    time.sleep(0.5)  # the dialog fades in
    picture(page, pictures / "nav.png")


def show_failing_check(page: Browser, desk: Desk, session: date, pictures: Path) -> None:
    """Load a price that is wrong, from files as a person would, and look at the check that stops it."""
    say(f"a bad price of {BAD_SYMBOL} on {session}")
    with tempfile.TemporaryDirectory(prefix="bad-prices-") as folder:
        prices = pd.read_parquet(SAMPLE_FILE)
        bad = (prices["session"] == session) & (prices["symbol"] == BAD_SYMBOL)
        prices.loc[bad, "close"] *= 10
        prices.to_parquet(Path(folder) / "prices.parquet")
        desk.hrp(
            *("job", "run", "market-data", "--session", str(session)),
            expect=1,
            HRP_PRICE_SOURCE="files",
            HRP_PRICE_FILES=folder,
        )
    page.goto(f"{desk.url}/assets/prices?view=checks&checkDetail=moves_are_explained")
    page.wait_for(
        "This is a blocking asset check", "Failed", "largest move", "threshold", "offending_rows", BAD_SYMBOL
    )
    picture(page, pictures / "failing-check.png")


def reveal(page: Browser, heading: str) -> None:
    """Scroll so that a heading stands at the top of its pane."""
    page.run(
        f"[...document.querySelectorAll('*')].filter(each => !each.children.length"
        f" && each.innerText === {json.dumps(heading)}).forEach(each => each.scrollIntoView())"
    )


def picture(page: Browser, path: Path, clip: tuple[float, float, float, float] | None = None) -> None:
    """Keep a picture, small enough for a repository.

    Raises:
        HrpError: it is larger than that.
    """
    page.picture(path, clip)
    size = path.stat().st_size
    if size > LARGEST_PICTURE:
        raise HrpError(f"{path} has {size:,} bytes, more than {LARGEST_PICTURE:,}: show less")
    say(f"{path.name}: {size:,} bytes")


def refuse_red(desk: Desk, *, expected: Sequence[str] = ()) -> None:
    """Refuse failed runs, but for those of the jobs in `expected`, and failed ticks.

    Raises:
        HrpError: there are some; the message names them.
    """
    runs = desk.query(_FAILED_RUNS)["runsOrError"]["results"]  # pyright: ignore[reportIndexIssue]
    red = [f"{run['jobName']} ({run['runId'][:8]})" for run in runs]
    if sorted(run["jobName"] for run in runs) != sorted(expected):
        raise HrpError(f"failed runs: {', '.join(red) or 'none'}; expected: {', '.join(expected) or 'none'}")
    for node in desk.query(_FAILED_TICKS)["repositoriesOrError"]["nodes"]:  # pyright: ignore[reportIndexIssue]
        states = [(each["name"], each["scheduleState"]) for each in node["schedules"]]
        states += [(each["name"], each["sensorState"]) for each in node["sensors"]]
        for name, state in states:
            for tick in state["ticks"]:
                raise HrpError(f"a tick of {name} failed: {tick['error']}")


def browse(desk: Desk, sessions: int, pictures: Path) -> None:
    """Prepare the installation, then look at it and work with it in the browser."""
    calendar, start = nyse(), Settings.model_fields["sim_start"].default
    today = calendar.offset(start, sessions)
    tomorrow = calendar.next(today)
    say(f"{sessions} sessions from {start} on (about {20 + 15 * sessions} s)")
    desk.hrp("demo", "--sessions", str(sessions))
    with desk.running(), Browser(*_WIDE) as page:
        say(f"the UI answers on {desk.url}")
        show_graph(page, desk, pictures)
        show_orders(page, desk, start, pictures)
        launch(page, desk, "decision_job", today)
        desk.hrp("gateway", "advance", "18:30")
        launch(page, desk, "live_trader_job", today)
        desk.hrp("gateway", "advance", "--next")
        say(f"market_data_job of {tomorrow}, by its schedule")
        page.goto(f"{desk.url}/runs")
        page.wait_until(
            lambda: desk.succeeded("market_data_job", tomorrow), "market_data_job", SCHEDULED_RUN_SECONDS
        )
        launch(page, desk, "book_job", today)
        show_nav(page, desk, today, pictures)
        refuse_red(desk)
        show_failing_check(page, desk, tomorrow, pictures)
        refuse_red(desk, expected=("market_data_job",))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=5, help="sessions of the demo that are looked at")
    parser.add_argument("--port", type=int, default=0, help="of the web UI; default: a free one")
    parser.add_argument(
        "--pictures", type=Path, default=PROJECT_ROOT / "docs" / "images", help="folder that they are kept in"
    )
    chosen = parser.parse_args()
    # Before the installation is made: that takes a minute.
    find_chromium()
    with tempfile.TemporaryDirectory(prefix="hrp-browse-") as home:
        browse(Desk(Path(home), chosen.port or free_port()), chosen.sessions, chosen.pictures)
    print("Every page said what it should.")


if __name__ == "__main__":
    try:
        main()
    except HrpError as error:
        sys.exit(f"Failed: {error}")
