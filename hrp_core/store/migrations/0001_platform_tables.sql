-- What is not an asset. Plain SQL that DuckLake accepts as well: no keys, no checks, no defaults, no
-- sequences; whoever writes asserts uniqueness. Every execution or book row carries mode and account.
-- Prices are DECIMAL(18,6), cash is DECIMAL(18,4), moments are TIMESTAMPTZ, JSON is text.

CREATE TABLE schema_version (version INTEGER NOT NULL, name VARCHAR NOT NULL);

-- The current content of each partition. A row without a session describes a bulk load of earlier history.
CREATE TABLE partition_versions (
    asset VARCHAR NOT NULL,
    session DATE,
    content_hash VARCHAR NOT NULL,
    rows BIGINT NOT NULL,
    run_id VARCHAR NOT NULL,
    code_version VARCHAR,
    written_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE check_results (
    asset VARCHAR NOT NULL,
    session DATE,
    claim VARCHAR NOT NULL,
    content_hash VARCHAR NOT NULL,
    passed BOOLEAN NOT NULL,
    severity VARCHAR NOT NULL,
    observed VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    checked_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE ingestion_log (
    run_id VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    asset VARCHAR NOT NULL,
    first_session DATE,
    last_session DATE,
    rows BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    message VARCHAR NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE lineage (
    event_id BIGINT NOT NULL,
    event_type VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    hypothesis_id VARCHAR,
    details VARCHAR NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE hypotheses (
    hypothesis_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    metadata VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE model_deployments (
    deployment_id VARCHAR NOT NULL,
    model_name VARCHAR NOT NULL,
    model_version VARCHAR NOT NULL,
    alias VARCHAR NOT NULL,
    previous_version VARCHAR,
    status VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    deployed_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE model_drift_checks (
    check_id VARCHAR NOT NULL,
    session DATE NOT NULL,
    model_name VARCHAR NOT NULL,
    model_version VARCHAR NOT NULL,
    drift_type VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    statistic DOUBLE,
    threshold DOUBLE,
    samples BIGINT NOT NULL,
    details VARCHAR NOT NULL,
    checked_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE executed_trades (
    trade_id VARCHAR NOT NULL,
    order_id VARCHAR NOT NULL,
    broker_order_id VARCHAR,
    hypothesis_id VARCHAR,
    symbol VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    quantity BIGINT NOT NULL,
    order_type VARCHAR NOT NULL,
    limit_price DECIMAL(18,6),
    filled_price DECIMAL(18,6),
    filled_quantity BIGINT NOT NULL,
    commission DECIMAL(18,4),
    status VARCHAR NOT NULL,
    submitted_at TIMESTAMPTZ,
    filled_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    mode VARCHAR NOT NULL,
    account VARCHAR NOT NULL
);

CREATE TABLE live_positions (
    symbol VARCHAR NOT NULL,
    quantity BIGINT NOT NULL,
    entry_price DECIMAL(18,6) NOT NULL,
    current_price DECIMAL(18,6),
    market_value DECIMAL(18,4),
    cost_basis DECIMAL(18,4) NOT NULL,
    unrealized_pnl DECIMAL(18,4),
    unrealized_pnl_pct DOUBLE,
    hypothesis_id VARCHAR,
    as_of_date DATE NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    mode VARCHAR NOT NULL,
    account VARCHAR NOT NULL
);

CREATE TABLE strategy_positions (
    strategy_id VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    quantity BIGINT NOT NULL,
    entry_price DECIMAL(18,6) NOT NULL,
    as_of_date DATE NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    mode VARCHAR NOT NULL,
    account VARCHAR NOT NULL
);

CREATE TABLE reconciliation_runs (
    reconciliation_id VARCHAR NOT NULL,
    session DATE NOT NULL,
    taken_at TIMESTAMPTZ NOT NULL,
    status VARCHAR NOT NULL,
    breaks BIGINT NOT NULL,
    cash_difference DECIMAL(18,4),
    details VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    account VARCHAR NOT NULL
);

CREATE TABLE account_snapshots (
    session DATE NOT NULL,
    taken_at TIMESTAMPTZ NOT NULL,
    net_liquidation DECIMAL(18,4) NOT NULL,
    cash DECIMAL(18,4) NOT NULL,
    positions VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    account VARCHAR NOT NULL
);
