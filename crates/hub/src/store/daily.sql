-- What each key brought on each day (of UTC, counted from 1970): what is deleted later stays counted.
CREATE TABLE daily (
    day          INTEGER NOT NULL,
    reporter     INTEGER NOT NULL,
    n_attributes INTEGER NOT NULL,
    n_sightings  INTEGER NOT NULL,
    -- Epoch seconds of the last of them.
    last         INTEGER NOT NULL,
    PRIMARY KEY (day, reporter)
) WITHOUT ROWID;

INSERT INTO daily
    SELECT day, reporter, sum(attributes), sum(sightings), max(time) FROM (
        SELECT attribute.timestamp / 86400 AS day, event.creator AS reporter,
                1 AS attributes, 0 AS sightings, attribute.timestamp AS time
            FROM attribute JOIN event ON event.id = attribute.event
        UNION ALL
        SELECT date / 86400, reporter, 0, 1, date FROM sighting WHERE type = 0
    ) GROUP BY day, reporter;
