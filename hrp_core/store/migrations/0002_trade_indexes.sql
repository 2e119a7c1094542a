-- Look-ups of trades by strategy, name and time. In a script of its own because DuckLake has no indexes.
CREATE INDEX executed_trades_by_hypothesis ON executed_trades (hypothesis_id);
CREATE INDEX executed_trades_by_symbol ON executed_trades (symbol);
CREATE INDEX executed_trades_by_filled_at ON executed_trades (filled_at);
