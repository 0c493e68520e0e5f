-- Who may write a partition (the highest epoch), and what the published rows cover.
CREATE TABLE partition_leases (
    partition integer PRIMARY KEY CHECK (partition >= 0),
    epoch bigint NOT NULL,
    owner text NOT NULL,
    acquired_at timestamptz NOT NULL DEFAULT now(),
    published_offsets jsonb NOT NULL DEFAULT '{}',
    published_at timestamptz
);

-- The last two good snapshots of each partition; a broken one stays until the next good one is saved.
CREATE TABLE partition_snapshots (
    partition integer NOT NULL REFERENCES partition_leases ON DELETE CASCADE,
    number bigint NOT NULL,
    epoch bigint NOT NULL,
    format integer NOT NULL,
    offsets jsonb NOT NULL,
    checksum bytea NOT NULL,
    body bytea NOT NULL,
    broken boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, number)
);

-- The body is compressed already.
ALTER TABLE partition_snapshots ALTER COLUMN body SET STORAGE EXTERNAL;
