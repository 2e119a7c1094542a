"""Anybody's SQL: it reads stored rows, and nothing else happens."""

import hashlib
import logging
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hrp_core.errors import DataError, HrpError, RefusedError, StoreError
from hrp_core.store import Store, migrate, query_readonly

SECRET = "the password is swordfish"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database, and files that nobody may read through it."""
    folder = tmp_path_factory.mktemp("shelf")
    store = Store(folder / "hrp.duckdb")
    migrate(store)
    with store.write() as connection:
        connection.execute(
            "CREATE TABLE prices AS SELECT range AS row, DATE '2022-12-15' AS session, "
            "CAST(1.5 AS DECIMAL(18,4)) AS close FROM range(20001)"
        )
    (folder / "secret.csv").write_text(f"a\n{SECRET}\n")
    duckdb.connect(str(folder / "other.duckdb")).close()
    return folder


@pytest.fixture(scope="module")
def store(shelf: Path) -> Store:
    return Store(shelf / "hrp.duckdb", wait=5)


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_select_gives_rows_with_their_types(store: Store) -> None:
    frame = query_readonly(store, "SELECT * FROM prices WHERE row = ? -- that one", [7])
    assert frame.to_dict("records") == [{"row": 7, "session": date(2022, 12, 15), "close": Decimal("1.5000")}]
    assert frame.attrs["truncated"] is False
    by_name = query_readonly(
        store, "WITH p AS (FROM prices) SELECT count(*) AS n FROM p WHERE row < $most", {"most": 5}
    )
    assert by_name["n"].tolist() == [5]


def test_what_exceeds_the_row_limit_is_cut_and_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        frame = query_readonly(store, "SELECT row FROM prices ORDER BY row")
    assert (len(frame), frame.attrs["truncated"], frame["row"].iloc[-1]) == (10_000, True, 9_999)
    assert "more than 10000 rows" in caplog.text
    assert query_readonly(store, "SELECT row FROM prices LIMIT 10000").attrs["truncated"] is False


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM prices",
        "INSERT INTO prices SELECT * FROM prices",
        "UPDATE prices SET close = 0",
        "CREATE TABLE x AS SELECT 1",
        "DROP TABLE prices",
        "ALTER TABLE prices ADD COLUMN x INT",
        "SELECT 1; DELETE FROM prices",
        "SELECT 1; SELECT 2",
        "",
        "-- nothing",
        "COPY prices TO '{folder}/out.csv'",
        "COPY prices FROM '{folder}/secret.csv'",
        "EXPORT DATABASE '{folder}/out'",
        "IMPORT DATABASE '{folder}'",
        "ATTACH '{folder}/other.duckdb' AS other",
        "DETACH hrp",
        "USE memory",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "RESET memory_limit",
        "SET enable_external_access = true",
        "PRAGMA enable_external_access = true",
        "CALL pragma_version()",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "COMMIT",
        "PREPARE p AS SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{folder}/secret.csv')",
        "SELECT * FROM read_blob('{folder}/secret.csv')",
        "SELECT * FROM read_parquet('{folder}/*')",
        "SELECT * FROM sniff_csv('{folder}/secret.csv')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM '{folder}/secret.csv'",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
        "SELECT * FROM sqlite_scan('{folder}/x.sqlite', 't')",
        "SELECT (SELECT content FROM read_text('{folder}/secret.csv'))",
        "SELECT * FROM query('SELECT * FROM read_text(''{folder}/secret.csv'')')",
    ],
)
def test_whatever_is_not_one_select_on_stored_tables_is_refused(store: Store, shelf: Path, sql: str) -> None:
    before = fingerprint(shelf)
    with pytest.raises(RefusedError) as refusal:
        query_readonly(store, sql.format(folder=shelf))
    assert refusal.value.exit_code == 3
    assert fingerprint(shelf) == before


def test_variables_of_the_program_cannot_be_read(store: Store) -> None:
    import pandas as pd

    secret_frame = pd.DataFrame({"a": [SECRET]})
    with pytest.raises(DataError, match="secret_frame does not exist"):
        query_readonly(store, "SELECT * FROM secret_frame")
    assert len(secret_frame) == 1


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nothing", "nothing does not exist"),
        ("SELECT ?", "parameter"),
        ("SELECT CAST('x' AS INT)", "Could not convert"),
    ],
)
def test_wrong_sql_is_a_value_error_that_says_what_is_wrong(store: Store, sql: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        query_readonly(store, sql)


def test_a_query_that_takes_too_long_is_ended(store: Store) -> None:
    with pytest.raises(StoreError, match=r"ended after 0\.2 s"):
        query_readonly(store, "SELECT count(*) FROM range(1000000000000) WHERE range % 3 = 1", timeout=0.2)
    assert query_readonly(store, "SELECT 1 AS one")["one"].tolist() == [1]


def test_a_query_that_takes_too_much_memory_is_ended(store: Store) -> None:
    with pytest.raises(StoreError, match="more memory than"):
        query_readonly(
            store,
            "SELECT count(DISTINCT range::VARCHAR || repeat('x', 10000)) FROM range(10000000)",
            timeout=60,
        )


def test_a_foreign_connection_of_this_process_is_named_and_not_fenced_in(shelf: Path) -> None:
    with duckdb.connect(str(shelf / "hrp.duckdb"), read_only=True) as mine:
        with pytest.raises(StoreError, match="another connection of this process"):
            query_readonly(Store(shelf / "hrp.duckdb"), "SELECT 1")
        mine.execute("SET threads = 2")


# --- anything at all ---------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["prices", "lineage", "x", '"prices"', "main.prices", "Ünïcode", '"a;b"', "hrp.main.x"]
)
FILES = st.sampled_from(["/etc/passwd", "{folder}/secret.csv", "{folder}/out.csv", "http://127.0.0.1:9/a"])
LEAF = st.one_of(
    st.sampled_from(
        ["SELECT 1", "FROM prices", "SELECT * FROM prices", "VALUES (1)", "SHOW TABLES", "SELECT '€🙂'"]
    ),
    st.builds("DELETE FROM {0}".format, NAMES),
    st.builds("INSERT INTO {0} VALUES (1)".format, NAMES),
    st.builds("INSERT INTO {0} SELECT * FROM {0} RETURNING *".format, NAMES),
    st.builds("UPDATE {0} SET close = 0".format, NAMES),
    st.builds("CREATE OR REPLACE TABLE {0} AS SELECT 1 AS a".format, NAMES),
    st.builds("CREATE TEMP TABLE {0} (a INT)".format, NAMES),
    st.builds("CREATE MACRO m() AS TABLE SELECT * FROM read_text('{0}')".format, FILES),
    st.builds("DROP TABLE IF EXISTS {0}".format, NAMES),
    st.builds("TRUNCATE {0}".format, NAMES),
    st.builds("COPY {0} TO '{1}'".format, NAMES, FILES),
    st.builds("COPY (SELECT 1) TO '{0}'".format, FILES),
    st.builds("ATTACH '{0}' AS other".format, FILES),
    st.builds("EXPORT DATABASE '{0}'".format, FILES),
    st.builds("SELECT * FROM read_csv('{0}')".format, FILES),
    st.builds("SELECT * FROM read_text('{0}')".format, FILES),
    st.builds("SELECT * FROM '{0}'".format, FILES),
    st.sampled_from(
        [
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET memory_limit = '1TB'",
            "PRAGMA database_list",
            "CALL checkpoint()",
            "SELECT nextval('s')",
            "SELECT * FROM duckdb_settings()",
        ]
    ),
)
SPACE = st.sampled_from([" ", "\n", "/* c */", "-- c\n", "\t", "\u00a0"])


def _wrapped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("WITH c AS ({0}) SELECT * FROM c".format, inner),
        st.builds("SELECT * FROM ({0}) AS s".format, inner),
        st.builds("{0}; {1}".format, inner, inner),
        st.builds("{1}{0}{1};".format, inner, SPACE),
        st.builds("EXPLAIN ANALYZE {0}".format, inner),
        st.builds("SELECT * FROM query($q${0}$q$)".format, inner),
        st.builds("PREPARE p AS {0}".format, inner),
    )


ANY_SQL = st.one_of(st.recursive(LEAF, _wrapped, max_leaves=4), st.text(max_size=60))


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sql=ANY_SQL)
def test_no_sql_changes_or_leaks_anything(shelf: Path, sql: str) -> None:
    before = fingerprint(shelf)
    text = sql.replace("{folder}", str(shelf))
    try:
        frame = query_readonly(Store(shelf / "hrp.duckdb", wait=5), text, limit=50)
    except HrpError:
        pass
    else:
        leaked = frame.astype(str).to_csv()
        assert SECRET not in leaked.replace(text, "")
        assert "root:" not in leaked
        assert len(frame) <= 50
    assert fingerprint(shelf) == before
