-- Alone in its file: CONCURRENTLY cannot run in a transaction, and several statements in one file are one.
-- Deliberately without IF NOT EXISTS: that would accept the invalid index which an interrupted build leaves behind.
CREATE INDEX CONCURRENTLY events_embedding_idx ON events USING hnsw (embedding vector_cosine_ops);
