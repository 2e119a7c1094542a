-- Every slice that is written adds a few rows to these tables, and DuckDB compresses the rows around them anew each
-- time it closes the file: half of what that took. In a script of its own, for DuckDB's own file format alone.
CREATE TABLE partition_versions_uncompressed (
    asset VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    session DATE USING COMPRESSION UNCOMPRESSED,
    content_hash VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    rows BIGINT USING COMPRESSION UNCOMPRESSED NOT NULL,
    run_id VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    code_version VARCHAR USING COMPRESSION UNCOMPRESSED,
    written_at TIMESTAMPTZ USING COMPRESSION UNCOMPRESSED NOT NULL
);
INSERT INTO partition_versions_uncompressed BY NAME SELECT * FROM partition_versions;
DROP TABLE partition_versions;
ALTER TABLE partition_versions_uncompressed RENAME TO partition_versions;

CREATE TABLE check_results_uncompressed (
    asset VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    session DATE USING COMPRESSION UNCOMPRESSED,
    claim VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    content_hash VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    passed BOOLEAN USING COMPRESSION UNCOMPRESSED NOT NULL,
    severity VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    observed VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    run_id VARCHAR USING COMPRESSION UNCOMPRESSED NOT NULL,
    checked_at TIMESTAMPTZ USING COMPRESSION UNCOMPRESSED NOT NULL
);
INSERT INTO check_results_uncompressed BY NAME SELECT * FROM check_results;
DROP TABLE check_results;
ALTER TABLE check_results_uncompressed RENAME TO check_results;
