-- The change stream.

-- Values whose place in the lists may have changed and was not looked at yet, in order.
CREATE TABLE touched (
    id    INTEGER PRIMARY KEY,
    value TEXT NOT NULL
);

-- What the change stream said last of each value that it lists.
CREATE TABLE listed (
    value TEXT PRIMARY KEY,
    last  INTEGER NOT NULL,
    line  TEXT    NOT NULL
) WITHOUT ROWID;

-- The change records, as they are sent. Old ones go; those that introduce a key stay.
CREATE TABLE change_record (
    sequence INTEGER PRIMARY KEY,
    issued   INTEGER NOT NULL,
    digest   TEXT    NOT NULL,
    key      TEXT,
    line     TEXT    NOT NULL
);

-- What comes is noted by who stores it: a trigger on each of a thousand rows costs more than they do.
CREATE TRIGGER attribute_changed AFTER UPDATE ON attribute
WHEN 'ip-src' IN (substr(OLD.type, 1, 6), substr(NEW.type, 1, 6))
    OR 'ip-dst' IN (substr(OLD.type, 1, 6), substr(NEW.type, 1, 6))
BEGIN
    INSERT INTO touched (value) VALUES (OLD.value1);
    INSERT INTO touched (value) SELECT NEW.value1 WHERE NEW.value1 <> OLD.value1;
END;
CREATE TRIGGER attribute_went AFTER DELETE ON attribute
WHEN OLD.type IN ('ip-src', 'ip-dst', 'ip-src|port', 'ip-dst|port')
BEGIN
    INSERT INTO touched (value) VALUES (OLD.value1);
END;
CREATE TRIGGER sighting_went AFTER DELETE ON sighting
BEGIN
    INSERT INTO touched (value) SELECT value1 FROM attribute WHERE id = OLD.attribute;
END;
CREATE TRIGGER attribute_tag_went AFTER DELETE ON attribute_tag
BEGIN
    INSERT INTO touched (value) SELECT value1 FROM attribute WHERE id = OLD.attribute;
END;
CREATE TRIGGER event_tag_came AFTER INSERT ON event_tag
BEGIN
    INSERT INTO touched (value) SELECT value1 FROM attribute WHERE event = NEW.event;
END;
CREATE TRIGGER event_tag_went AFTER DELETE ON event_tag
BEGIN
    INSERT INTO touched (value) SELECT value1 FROM attribute WHERE event = OLD.event;
END;

-- What an older store holds is listed as if it had just come.
INSERT INTO touched (value) SELECT DISTINCT value1 FROM attribute
    WHERE type IN ('ip-src', 'ip-dst', 'ip-src|port', 'ip-dst|port');
