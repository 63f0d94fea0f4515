-- The extensions stay: they belong to the superuser, and other schemas may use them.
DROP TABLE places;
