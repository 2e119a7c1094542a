"""Changing strategy files from the command line: their state, and a new one.

What belongs here: the one line that a state is, written atomically, and the rows of `hypotheses` that follow
the folder. What does not: reading a file (`strategies`), what a state means for a portfolio (`decide`).
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hrp_core.errors import RefusedError, SettingsError
from hrp_core.portfolio.strategies import (
    StrategyFile,
    StrategyState,
    check_capital,
    read_strategy_file,
    read_strategy_files,
)
from hrp_core.store import EventType, Store, append_event, migrate

TEMPLATE = """\
# What it does, in one or two sentences.
id = "{strategy_id}"
name = "{name}"
model = "momentum_12_1"
method = "rank"
capital_weight = 0.5
state = "draft" # draft, deployed, paused or retired

[parameters]
top_pct = 0.25
"""

# What a person may do, and from which states.
_FROM = {
    StrategyState.DEPLOYED: (StrategyState.DRAFT, StrategyState.PAUSED, StrategyState.RETIRED),
    StrategyState.PAUSED: (StrategyState.DEPLOYED,),
    StrategyState.RETIRED: (StrategyState.DEPLOYED, StrategyState.PAUSED),
}
_STATUS = {
    StrategyState.DRAFT: "draft",
    StrategyState.DEPLOYED: "deployed",
    StrategyState.PAUSED: "deployed",
    StrategyState.RETIRED: "retired",
}
_LINE = r"^([ \t]*{key}[ \t]*=[ \t]*)(\"[^\"\\\n]*\"|'[^'\n]*')([ \t]*(?:#[^\n]*)?\r?)$"


def change_state(
    folder: Path, store: Store, strategy_id: str, state: StrategyState, *, by: str, reason: str, now: datetime
) -> StrategyFile:
    """Move a strategy to a state: one line of its file changes, comments and all else stay.

    Args:
        folder: of the strategy files.
        store: takes the rows of `hypotheses` and the event.
        strategy_id: which one.
        state: DEPLOYED, PAUSED or RETIRED.
        by: the person.
        reason: why, never empty.
        now: timezone-aware.

    Raises:
        RefusedError: no reason, no such strategy, or the state does not follow from the one it is in.
        SettingsError: a file is invalid, its state is not one plain line, or the capital weights would sum
            to more than 1.
    """
    if not reason.strip():
        raise RefusedError("a strategy is changed with a reason: say why; nothing was changed")
    files = {file.strategy.strategy_id: file for file in read_strategy_files(folder)}
    file = files.get(strategy_id)
    if file is None:
        raise RefusedError(f"no strategy {strategy_id} in {folder}; there are {', '.join(files) or 'none'}")
    if file.state not in _FROM[state]:
        raise RefusedError(
            f"{strategy_id} is {file.state.value}; only one that is "
            f"{' or '.join(each.value for each in _FROM[state])} becomes {state.value}. Nothing was changed"
        )
    changed = replace(file.strategy, retired=state is StrategyState.RETIRED)
    check_capital(
        [
            *(
                other.strategy
                for other in files.values()
                if other.state is not StrategyState.DRAFT and other is not file
            ),
            changed,
        ]
    )
    written = _write(file.path, _with_line(file.path, _text(file.path), "state", state.value))
    details: dict[str, object] = {"was": file.state.value, "state": state.value, "reason": reason}
    _record(store, read_strategy_files(folder), written, by, details, now)
    return written


def add_strategy(
    folder: Path,
    store: Store,
    strategy_id: str,
    *,
    name: str = "",
    source: Path | None = None,
    by: str,
    now: datetime,
) -> StrategyFile:
    """Write a new strategy file as a draft: a copy of `source`, or of the shipped template.

    Args:
        folder: of the strategy files; made when missing.
        store: takes the row of `hypotheses` and the event.
        strategy_id: of the new one; also names the file.
        name: short human name; default: that of the source, or the id.
        source: a strategy file to copy; id, name and state are replaced.
        by: the person.
        now: timezone-aware.

    Raises:
        RefusedError: the folder has that id, or a file of that name.
        SettingsError: the copy is no valid strategy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{strategy_id.lower()}.toml"
    if path.exists() or any(file.strategy.strategy_id == strategy_id for file in read_strategy_files(folder)):
        raise RefusedError(f"{folder} has a strategy {strategy_id} already; nothing was written")
    if source is None:
        text = TEMPLATE.format(strategy_id=strategy_id, name=name or strategy_id)
    else:
        text = _text(source)
        text = _with_line(source, text, "id", strategy_id)
        text = _with_line(source, text, "state", StrategyState.DRAFT.value)
        if name:
            text = _with_line(source, text, "name", name)
    written = _write(path, text)
    details = {"was": None, "state": written.state.value, "reason": f"added from {source or 'the template'}"}
    _record(store, read_strategy_files(folder), written, by, details, now)
    return written


def _text(path: Path) -> str:
    """Return a file's text with its line ends as they are."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error


def _with_line(path: Path, text: str, key: str, value: str) -> str:
    """Return `text` with the value of one top-level key replaced; its line must be the only one like it."""
    if '"' in value or "\\" in value or not value.isprintable():
        raise SettingsError(f"{value!r} cannot stand in {path}: give a text without quotes and backslashes")
    end = re.search(r"^[ \t]*\[", text, re.MULTILINE)
    head, tail = (text, "") if end is None else (text[: end.start()], text[end.start() :])
    pattern = re.compile(_LINE.format(key=key), re.MULTILINE)
    found = pattern.findall(head)
    if len(found) != 1 or '"""' in head or "'''" in head:
        raise SettingsError(
            f'{path}: {key!r} is not exactly one plain line of the form {key} = "...", so no program '
            "changes it; edit the file by hand"
        )
    return pattern.sub(lambda match: f'{match[1]}"{value}"{match[3]}', head) + tail


def _write(path: Path, text: str) -> StrategyFile:
    """Write a file whole or not at all, checked before it takes the place of the old one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        read_strategy_file(draft)
        if path.exists():
            draft.chmod(path.stat().st_mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return read_strategy_file(path)


def _record(
    store: Store,
    files: Iterable[StrategyFile],
    changed: StrategyFile,
    by: str,
    details: dict[str, object],
    now: datetime,
) -> None:
    """Let `hypotheses` follow the folder, and append the event, in one transaction."""
    migrate(store)
    with store.write() as connection:
        created = dict(connection.execute("SELECT hypothesis_id, created_at FROM hypotheses").fetchall())
        for file in files:
            strategy = file.strategy
            metadata = {
                "state": file.state.value,
                "model_name": strategy.model,
                "method": strategy.method,
                "parameters": dict(strategy.parameters),
                "capital_weight": str(strategy.capital_weight),
                "file": file.path.name,
                "content_hash": strategy.content_hash,
            }
            connection.execute("DELETE FROM hypotheses WHERE hypothesis_id = ?", [strategy.strategy_id])
            connection.execute(
                "INSERT INTO hypotheses (hypothesis_id, name, status, metadata, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    strategy.strategy_id,
                    strategy.name,
                    _STATUS[file.state],
                    json.dumps(metadata, default=str, sort_keys=True),
                    created.get(strategy.strategy_id, now),
                    now,
                ],
            )
        append_event(
            connection, EventType.STRATEGY_CHANGED, by, changed.strategy.strategy_id, details, now=now
        )
