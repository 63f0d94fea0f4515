CREATE TABLE events (
    -- Chosen by the client if it likes: writing the same event twice with one id is one row.
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    description text NOT NULL DEFAULT '',
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    place_id uuid REFERENCES places (id),
    -- A sentence embedding of name and description; null until something has computed it.
    embedding vector (384),
    -- Set by the job that counts past events; null for all others.
    expired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (ends_at >= starts_at)
);

CREATE INDEX events_starts_at_idx ON events (starts_at, id);
CREATE INDEX events_place_id_idx ON events (place_id) WHERE place_id IS NOT NULL;
-- What the job looks for: small, however many past events there are.
CREATE INDEX events_not_expired_idx ON events (ends_at) WHERE expired_at IS NULL;
