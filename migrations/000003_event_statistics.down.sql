DROP TABLE event_statistics;
