-- One row a day, written by the periodic job.
CREATE TABLE event_statistics (
    day date PRIMARY KEY,
    expired bigint NOT NULL DEFAULT 0,
    runs bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);
