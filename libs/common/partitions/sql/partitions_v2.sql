-- The body of a snapshot may lie outside: `location` says where, as a URL.
ALTER TABLE partition_snapshots ADD COLUMN location text;
ALTER TABLE partition_snapshots ALTER COLUMN body DROP NOT NULL;
ALTER TABLE partition_snapshots ADD CONSTRAINT body_or_location CHECK ((body IS NULL) <> (location IS NULL));

-- Part of the names of bodies: two databases that share a bucket keep apart.
CREATE TABLE partition_catalogue (id uuid NOT NULL DEFAULT gen_random_uuid());
INSERT INTO partition_catalogue DEFAULT VALUES;

-- When the owner last said that it works; NULL once it has left in order.
ALTER TABLE partition_leases ADD COLUMN seen_at timestamptz;
