-- The order journal. Prices and cash are integer ten-thousandths of a dollar, moments are UTC text of fixed
-- width (so that text order is time order), sessions are ISO dates. Rows are only ever added; the few columns
-- that change are compare-and-set states (plans.status, intents.state) and the folded state of an attempt,
-- which is a cache of what its evidence amounts to.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE fence (
    epoch       INTEGER PRIMARY KEY AUTOINCREMENT,
    owner       TEXT NOT NULL,
    acquired_at TEXT NOT NULL
) STRICT;

CREATE TABLE plans (
    plan_id           TEXT PRIMARY KEY,
    mode              TEXT NOT NULL,
    account           TEXT NOT NULL,
    session           TEXT NOT NULL,
    execution_session TEXT NOT NULL,
    purpose           TEXT NOT NULL,
    sequence          INTEGER NOT NULL,
    status            TEXT NOT NULL,
    content           TEXT NOT NULL,
    inputs_hash       TEXT NOT NULL,
    created_at        TEXT NOT NULL,
    UNIQUE (mode, account, session, purpose, sequence)
) STRICT;

CREATE TABLE intents (
    intent_id        TEXT PRIMARY KEY,
    plan_id          TEXT NOT NULL REFERENCES plans (plan_id),
    place            INTEGER NOT NULL,
    symbol           TEXT NOT NULL,
    con_id           INTEGER NOT NULL,
    primary_exchange TEXT NOT NULL,
    currency         TEXT NOT NULL,
    min_tick         TEXT NOT NULL,
    side             TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity         INTEGER NOT NULL CHECK (quantity > 0),
    leg              TEXT NOT NULL CHECK (leg IN ('decrease', 'increase')),
    order_type       TEXT NOT NULL,
    limit_price      INTEGER,
    reference_price  INTEGER,
    allocations      TEXT NOT NULL,
    state            TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'expired')),
    reason           TEXT NOT NULL DEFAULT '',
    UNIQUE (plan_id, con_id, leg)
) STRICT;

CREATE INDEX intents_by_contract ON intents (con_id);

CREATE TABLE attempts (
    order_ref TEXT PRIMARY KEY,
    intent_id TEXT NOT NULL REFERENCES intents (intent_id),
    number    INTEGER NOT NULL,
    quantity  INTEGER NOT NULL CHECK (quantity > 0),
    epoch     INTEGER NOT NULL REFERENCES fence (epoch),
    sent_at   TEXT NOT NULL,
    status    TEXT NOT NULL DEFAULT 'sent',
    filled    INTEGER NOT NULL DEFAULT 0,
    perm_id   INTEGER,
    reason    TEXT NOT NULL DEFAULT '',
    UNIQUE (intent_id, number)
) STRICT;
CREATE INDEX attempts_by_status ON attempts (status);

CREATE TABLE broker_events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    order_ref TEXT NOT NULL,
    source    TEXT NOT NULL,
    status    TEXT,
    perm_id   INTEGER NOT NULL,
    filled    INTEGER,
    code      INTEGER,
    message   TEXT NOT NULL,
    position  INTEGER NOT NULL,
    seen_at   TEXT NOT NULL
) STRICT;
CREATE INDEX broker_events_by_ref ON broker_events (order_ref, position, id);

CREATE TABLE executions (
    exec_id          TEXT PRIMARY KEY,
    stem             TEXT NOT NULL,
    revision         INTEGER NOT NULL,
    account          TEXT NOT NULL,
    order_ref        TEXT NOT NULL,
    perm_id          INTEGER NOT NULL,
    symbol           TEXT NOT NULL,
    con_id           INTEGER NOT NULL,
    primary_exchange TEXT NOT NULL,
    currency         TEXT NOT NULL,
    min_tick         TEXT NOT NULL,
    side             TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    shares           INTEGER NOT NULL CHECK (shares >= 0),
    price            INTEGER NOT NULL CHECK (price >= 0),
    executed_at      TEXT NOT NULL,
    session          TEXT NOT NULL,
    recorded_at      TEXT NOT NULL
) STRICT;
CREATE INDEX executions_by_ref ON executions (order_ref);
CREATE INDEX executions_by_stem ON executions (stem, revision);
CREATE INDEX executions_by_session ON executions (session);

CREATE TABLE busts (
    stem        TEXT PRIMARY KEY,
    reason      TEXT NOT NULL,
    recorded_at TEXT NOT NULL
) STRICT;

-- No reference to executions: a commission may be reported before its execution.
CREATE TABLE commissions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    exec_id     TEXT NOT NULL,
    commission  INTEGER NOT NULL,
    recorded_at TEXT NOT NULL,
    UNIQUE (exec_id, commission)
) STRICT;

-- What counts: the newest revision of each execution that was not busted, with its newest commission.
CREATE VIEW effective_executions AS
SELECT e.*, (
    SELECT c.commission FROM commissions c WHERE c.exec_id = e.exec_id ORDER BY c.id DESC LIMIT 1
) AS commission
FROM executions e
WHERE NOT EXISTS (SELECT 1 FROM executions n WHERE n.stem = e.stem AND n.revision > e.revision)
  AND NOT EXISTS (SELECT 1 FROM busts b WHERE b.stem = e.stem);

-- Orders placed elsewhere, by the broker's permanent id: whether their executions belong to the book.
CREATE TABLE external_orders (
    perm_id    INTEGER PRIMARY KEY CHECK (perm_id > 0),
    order_ref  TEXT NOT NULL,
    policy     TEXT NOT NULL CHECK (policy IN ('adopt', 'carve-out')),
    decided_at TEXT NOT NULL
) STRICT;

-- The strategy that a person gave a recorded trade to. Written with its execution, never changed.
CREATE TABLE trade_strategies (
    exec_id     TEXT PRIMARY KEY REFERENCES executions (exec_id),
    strategy_id TEXT NOT NULL,
    by          TEXT NOT NULL,
    at          TEXT NOT NULL
) STRICT;

-- Order ids of our clients: what a client had used when this journal first met it, or when a gateway that was
-- restarted counts from anew; what was sent under which id; and what the broker had seen used beyond that. The
-- last counts once a person has resumed trading: once the latch was opened after `latch_id`.
CREATE TABLE order_ids (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id INTEGER NOT NULL,
    order_id  INTEGER NOT NULL CHECK (order_id >= 0),
    source    TEXT NOT NULL CHECK (source IN ('first', 'restarted', 'sent', 'unexplained')),
    order_ref TEXT REFERENCES attempts (order_ref),
    latch_id  INTEGER NOT NULL,
    at        TEXT NOT NULL
) STRICT;
CREATE INDEX order_ids_by_client ON order_ids (client_id, source);

-- What strategies take from one another, written when their plan is sent: [strategy, signed shares] pairs that
-- sum to 0. It counts in the book from `executes_at` on, the open of the execution session.
CREATE TABLE crosses (
    cross_id        TEXT PRIMARY KEY,
    plan_id         TEXT NOT NULL REFERENCES plans (plan_id),
    symbol          TEXT NOT NULL,
    session         TEXT NOT NULL,
    shares          TEXT NOT NULL,
    reference_price INTEGER NOT NULL CHECK (reference_price > 0),
    executes_at     TEXT NOT NULL,
    released_at     TEXT NOT NULL,
    UNIQUE (plan_id, symbol)
) STRICT;

-- The official price of a cross, once its bar is stored. The newest row counts: a corrected bar adds one.
CREATE TABLE cross_prices (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    cross_id    TEXT NOT NULL REFERENCES crosses (cross_id),
    price       INTEGER NOT NULL CHECK (price > 0),
    recorded_at TEXT NOT NULL
) STRICT;

-- Splits that a person has taken into the ledger. They count in the book from midnight of `session` on, the first
-- that trades at the new number of shares.
CREATE TABLE splits (
    symbol     TEXT NOT NULL,
    session    TEXT NOT NULL,
    new_shares INTEGER NOT NULL CHECK (new_shares > 0),
    old_shares INTEGER NOT NULL CHECK (old_shares > 0),
    by         TEXT NOT NULL,
    at         TEXT NOT NULL,
    PRIMARY KEY (symbol, session)
) STRICT;

CREATE TABLE snapshots (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    account         TEXT NOT NULL,
    asked_at        TEXT NOT NULL,
    position        INTEGER NOT NULL,
    shares          TEXT NOT NULL,
    cash            INTEGER NOT NULL,
    net_liquidation INTEGER NOT NULL,
    recorded_at     TEXT NOT NULL
) STRICT;

CREATE TABLE cash_flows (
    reference TEXT PRIMARY KEY,
    kind      TEXT NOT NULL,
    amount    INTEGER NOT NULL,
    session   TEXT NOT NULL,
    at        TEXT NOT NULL,
    by        TEXT NOT NULL,
    note      TEXT NOT NULL
) STRICT;

-- The valuation session whose NAV was the first to contain a cash flow, and is the only one to count it.
CREATE TABLE flow_sessions (
    reference  TEXT PRIMARY KEY REFERENCES cash_flows (reference),
    session    TEXT NOT NULL,
    counted_at TEXT NOT NULL
) STRICT;

CREATE TABLE latch (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    state    TEXT NOT NULL CHECK (state IN ('active', 'reducing', 'halted')),
    by       TEXT NOT NULL,
    reason   TEXT NOT NULL,
    evidence TEXT NOT NULL,
    at       TEXT NOT NULL
) STRICT;

CREATE TABLE approvals (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_id   TEXT NOT NULL REFERENCES plans (plan_id),
    approved  INTEGER NOT NULL,
    by        TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    at        TEXT NOT NULL,
    reason    TEXT NOT NULL
) STRICT;

-- What a person decided about a name, for every strategy; the newest row of a symbol counts.
CREATE TABLE symbol_controls (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    symbol TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('freeze', 'no-buy', 'exit', 'clear')),
    until  TEXT,
    by     TEXT NOT NULL,
    reason TEXT NOT NULL,
    at     TEXT NOT NULL
) STRICT;

-- Names that a person took out of a session's plan; planning the session again keeps them out.
CREATE TABLE plan_drops (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    symbol  TEXT NOT NULL,
    by      TEXT NOT NULL,
    reason  TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;

-- Permission to trade a live account; the newest row counts, one without an amount takes it back.
CREATE TABLE arm_tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      TEXT NOT NULL,
    limits_hash  TEXT NOT NULL,
    max_notional INTEGER NOT NULL CHECK (max_notional >= 0),
    expires_at   TEXT NOT NULL,
    by           TEXT NOT NULL,
    reason       TEXT NOT NULL,
    at           TEXT NOT NULL
) STRICT;

-- What each claimed order took of a token.
CREATE TABLE arm_uses (
    order_ref TEXT PRIMARY KEY REFERENCES attempts (order_ref),
    token_id  INTEGER NOT NULL REFERENCES arm_tokens (id),
    notional  INTEGER NOT NULL CHECK (notional >= 0),
    at        TEXT NOT NULL
) STRICT;

CREATE TABLE flatten_codes (
    code           TEXT PRIMARY KEY,
    account        TEXT NOT NULL,
    positions_hash TEXT NOT NULL,
    expires_at     TEXT NOT NULL,
    by             TEXT NOT NULL,
    at             TEXT NOT NULL
) STRICT;

CREATE TABLE flatten_uses (
    code   TEXT PRIMARY KEY REFERENCES flatten_codes (code),
    by     TEXT NOT NULL,
    reason TEXT NOT NULL,
    at     TEXT NOT NULL
) STRICT;
