"""Alerts over real sockets: a mail server and a web server that speak just enough of their protocols."""

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hrp_core.alerts import AlertKind, AlertOutcome, Alerts, AlertSettings, PendingAlerts
from hrp_core.calendar import NEW_YORK, FixedClock

EVENING = datetime(2022, 12, 2, 18, 40, tzinfo=NEW_YORK)


class _SmtpHandler(socketserver.StreamRequestHandler):
    """One SMTP conversation; the data of each mail is kept."""

    def handle(self) -> None:
        self._say("220 local")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(" ")[0].upper()
            if verb == "DATA":
                self._say("354 go on")
                mail = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    mail.append(text)
                self.server.mails.append("\n".join(mail))  # pyright: ignore[reportAttributeAccessIssue]
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class _Smtp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SmtpHandler)
        self.mails: list[str] = []


class _HttpHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server: _Http = self.server  # pyright: ignore[reportAssignmentType]
        server.requests.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(server.answer)
        self.end_headers()
        self.wfile.write(b'{"id": "1"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing on the console."""


class _Http(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HttpHandler)
        self.requests: list[tuple[str, dict[str, str], dict]] = []
        self.answer = 200

    @property
    def url(self) -> str:
        return f"json://user:pa55word@127.0.0.1:{self.server_address[1]}/alerts"


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def http() -> Iterator[_Http]:
    server = _Http()
    with serving(server):
        yield server


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(EVENING)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sim" / "alerts.sqlite"


def tell(alerts: Alerts, key: str = "halt:1", **changes: str) -> AlertOutcome:
    told = {
        "title": "trading is halted",
        "body": "Account DU1234567 lost 16 %.",
        "next_step": "run `hrp resume --reason ...`",
        **changes,
    }
    return alerts.notify(AlertKind.HALT, told["title"], told["body"], next_step=told["next_step"], key=key)


def test_a_web_hook_gets_title_next_step_and_a_masked_account(
    http: _Http, path: Path, clock: FixedClock
) -> None:
    assert tell(Alerts(path, [http.url], clock)) is AlertOutcome.SENT
    [(address, _, sent)] = http.requests
    assert address == "/alerts"
    assert sent["title"] == "HRP halt: trading is halted"
    assert sent["message"].startswith("Account DU***67 lost 16 %.")
    assert "Next step: run `hrp resume --reason ...`" in sent["message"]
    assert "2022-12-02 18:40 New York" in sent["message"]


def test_mail_arrives_over_smtp(path: Path, clock: FixedClock) -> None:
    server = _Smtp()
    with serving(server):
        port = server.server_address[1]
        url = f"mailto://127.0.0.1:{port}?from=desk@example.com&to=quant@example.com&format=text"
        assert tell(Alerts(path, [url], clock)) is AlertOutcome.SENT
    [mail] = server.mails
    assert "To: quant@example.com" in mail
    assert "Subject: HRP halt: trading is halted" in mail
    assert "DU***67" in mail
    assert "DU1234567" not in mail


def test_resend_gets_the_key_as_a_bearer_token(
    http: _Http, path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.resend import NotifyResend

    monkeypatch.setattr(NotifyResend, "notify_url", f"http://127.0.0.1:{http.server_address[1]}/emails")
    monkeypatch.setenv("RESEND_API_KEY", "re_s3cret_Key")
    monkeypatch.setenv("NOTIFICATION_EMAIL", "quant@example.com")
    alerts = Alerts(path, AlertSettings.from_env().channels(), clock)
    assert tell(alerts) is AlertOutcome.SENT
    [(address, headers, sent)] = http.requests
    assert address == "/emails"
    assert headers["Authorization"] == "Bearer re_s3cret_Key"
    assert sent["to"] == "quant@example.com"
    assert "onboarding@resend.dev" in sent["from"]
    assert sent["subject"] == "HRP halt: trading is halted"


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("", 0),
        ("json://a/x", 1),
        ("json://a/x json://b/y", 2),
        ("json://a/x,json://b/y", 2),
        ("mailto://u:p@example.com?to=a@example.com,b@example.com, json://b/y", 2),
    ],
)
def test_several_urls_may_be_given(given: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRP_ALERT_URLS", given)
    assert len(AlertSettings.from_env().channels()) == count


def test_the_same_key_is_told_once_a_day_also_after_a_restart(
    http: _Http, path: Path, clock: FixedClock
) -> None:
    assert tell(Alerts(path, [http.url], clock)) is AlertOutcome.SENT
    assert tell(Alerts(path, [http.url], clock)) is AlertOutcome.REPEATED
    assert tell(Alerts(path, [http.url], clock), key="halt:2") is AlertOutcome.SENT
    clock.set(EVENING + timedelta(days=1))
    assert tell(Alerts(path, [http.url], clock)) is AlertOutcome.SENT
    assert len(http.requests) == 3


def test_what_happened_once_is_not_told_again_the_next_day(
    http: _Http, path: Path, clock: FixedClock
) -> None:
    alerts = Alerts(path, [http.url], clock)
    for expected in (AlertOutcome.SENT, AlertOutcome.REPEATED):
        told = alerts.notify(
            AlertKind.MISSED_SESSION, "not traded", "no plan", next_step="look", key="x", day=EVENING.date()
        )
        assert told is expected
        clock.set(EVENING + timedelta(days=3))


def test_what_was_not_taken_is_an_error_in_the_log_and_tried_again(
    http: _Http, path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    alerts = Alerts(path, [http.url], clock)
    http.answer = 500
    assert tell(alerts) is AlertOutcome.FAILED
    assert alerts.send_pending() == alerts.pending() == PendingAlerts(waiting=1)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "alert channel 1 of 1 (json) did not take" in errors[0].getMessage()
    http.answer = 200
    assert alerts.send_pending() == PendingAlerts(sent=1)
    assert alerts.send_pending() == alerts.pending() == PendingAlerts()
    assert tell(alerts) is AlertOutcome.REPEATED
    assert len(http.requests) == 3


def test_a_channel_that_took_it_does_not_get_it_twice(http: _Http, path: Path, clock: FixedClock) -> None:
    other = _Http()
    other.answer = 503
    with serving(other):
        alerts = Alerts(path, [http.url, other.url], clock)
        assert tell(alerts) is AlertOutcome.FAILED
        other.answer = 200
        assert tell(alerts) is AlertOutcome.SENT
    assert (len(http.requests), len(other.requests)) == (1, 2)


@pytest.mark.parametrize(
    "url",
    [
        "json://user:pa55word@127.0.0.1:1/t0ken",
        "resend://re bad key:x/",
        "nonsense://pa55word",
        "slack://pa55word/t0ken/oops",
    ],
)
def test_a_channel_that_cannot_be_used_raises_nothing_and_its_secrets_are_not_logged(
    url: str, path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert tell(Alerts(path, [url], clock)) is AlertOutcome.FAILED
    assert "did not take" in caplog.text
    for secret in ("pa55word", "t0ken", "bad key"):
        assert secret not in caplog.text
        assert secret.encode() not in path.read_bytes()


def test_without_a_channel_the_alert_is_logged_once_and_sent_once_there_is_one(
    http: _Http, path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    assert tell(Alerts(path, [], clock)) is AlertOutcome.NO_CHANNEL
    assert tell(Alerts(path, [], clock)) is AlertOutcome.REPEATED
    assert caplog.text.count("trading is halted") == 1
    assert Alerts(path, [], clock).send_pending() == PendingAlerts()
    assert Alerts(path, [http.url], clock).send_pending() == PendingAlerts(sent=1)
    assert len(http.requests) == 1


def test_what_no_channel_took_for_two_days_is_given_up_and_said_for_a_week(
    http: _Http, path: Path, clock: FixedClock
) -> None:
    alerts = Alerts(path, [http.url], clock)
    http.answer = 500
    tell(alerts)
    clock.set(EVENING + timedelta(days=2))
    tell(alerts, key="halt:2")
    assert alerts.pending() == PendingAlerts(waiting=2)
    http.answer = 200
    clock.set(EVENING + timedelta(days=3))
    found = alerts.send_pending()
    assert found == PendingAlerts(sent=1, given_up=1)
    assert str(found) == "1 alert sent late; 1 alert of the last week never sent, and no longer tried"
    clock.set(EVENING + timedelta(days=8))
    assert str(alerts.send_pending()) == ""


def test_a_file_that_cannot_be_used_raises_nothing(
    path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_text("no database, and long enough to be none " * 20)
    assert tell(Alerts(path, [], clock)) is AlertOutcome.FAILED
    assert "was lost" in caplog.text
    with_channel = Alerts(path, ["json://127.0.0.1:1/x"], clock)
    for pending in (with_channel.send_pending(), with_channel.pending()):
        assert "could not be looked at or sent: DatabaseError" in str(pending)
