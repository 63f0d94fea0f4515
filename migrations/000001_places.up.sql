-- The stack creates the extensions beforehand, as a superuser. For the owner role, which migrates, these are no-ops;
-- they are here so that a database without them fails with a message that names what is missing.
CREATE EXTENSION IF NOT EXISTS postgis;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE places (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    address text NOT NULL DEFAULT '',
    location geography (point, 4326) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX places_location_idx ON places USING gist (location);
CREATE INDEX places_name_idx ON places USING gin (name gin_trgm_ops);
