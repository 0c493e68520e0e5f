-- In a column of its own: JSON with the character U+0000 in it, which a payload may have, cannot be read into.
ALTER TABLE experiments ADD COLUMN remembers_since bigint NOT NULL DEFAULT 1;

UPDATE experiments SET remembers_since = coalesce((body ->> 'remembers_since')::bigint, 1)
WHERE position('\u0000' IN body::text) = 0;
