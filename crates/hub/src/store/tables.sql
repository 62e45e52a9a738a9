CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE event (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid                BLOB    NOT NULL UNIQUE,
    info                TEXT    NOT NULL,
    date                TEXT    NOT NULL,
    threat_level        INTEGER NOT NULL,
    analysis            INTEGER NOT NULL,
    distribution        INTEGER NOT NULL,
    published           INTEGER NOT NULL DEFAULT 0,
    timestamp           INTEGER NOT NULL,
    publish_timestamp   INTEGER NOT NULL DEFAULT 0,
    sighting_timestamp  INTEGER NOT NULL DEFAULT 0,
    disable_correlation INTEGER NOT NULL,
    extends_uuid        TEXT    NOT NULL,
    n_attributes        INTEGER NOT NULL DEFAULT 0,
    creator             INTEGER NOT NULL,
    creator_email       TEXT    NOT NULL
);
CREATE INDEX event_time ON event (timestamp);

CREATE TABLE blocked_event (
    uuid    BLOB PRIMARY KEY,
    deleted INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE object (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    event            INTEGER NOT NULL REFERENCES event ON DELETE CASCADE,
    uuid             BLOB    NOT NULL UNIQUE,
    name             TEXT    NOT NULL,
    meta_category    TEXT    NOT NULL,
    description      TEXT    NOT NULL,
    template_uuid    TEXT    NOT NULL,
    template_version TEXT    NOT NULL,
    comment          TEXT    NOT NULL,
    distribution     INTEGER NOT NULL,
    deleted          INTEGER NOT NULL DEFAULT 0,
    first_seen       INTEGER,
    last_seen        INTEGER,
    timestamp        INTEGER NOT NULL
);
CREATE INDEX object_event ON object (event);

CREATE TABLE attribute (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    event               INTEGER NOT NULL REFERENCES event ON DELETE CASCADE,
    -- The object it is a part of, and as what; 0 when it stands alone.
    object              INTEGER NOT NULL DEFAULT 0,
    relation            TEXT,
    uuid                BLOB    NOT NULL UNIQUE,
    type                TEXT    NOT NULL,
    category            TEXT    NOT NULL,
    value1              TEXT    NOT NULL,
    value2              TEXT    NOT NULL,
    comment             TEXT    NOT NULL,
    to_ids              INTEGER NOT NULL,
    distribution        INTEGER NOT NULL,
    deleted             INTEGER NOT NULL DEFAULT 0,
    disable_correlation INTEGER NOT NULL,
    first_seen          INTEGER,
    last_seen           INTEGER,
    timestamp           INTEGER NOT NULL
);
-- One live attribute for each value of an event: this is the check for duplicates. Parts of
-- objects repeat values as they must.
CREATE UNIQUE INDEX attribute_once ON attribute (event, value1, value2, type, category)
    WHERE deleted = 0 AND object = 0;
CREATE INDEX attribute_object ON attribute (object) WHERE object != 0;
-- With the number of the row behind it: the pages of an event are read in order.
CREATE INDEX attribute_event ON attribute (event, deleted);
CREATE INDEX attribute_value1 ON attribute (value1);
CREATE INDEX attribute_value2 ON attribute (value2) WHERE value2 != '';
CREATE INDEX attribute_time ON attribute (timestamp);

CREATE TABLE sighting (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid      BLOB    NOT NULL UNIQUE,
    attribute INTEGER NOT NULL REFERENCES attribute ON DELETE CASCADE,
    type      INTEGER NOT NULL,
    source    TEXT    NOT NULL,
    date      INTEGER NOT NULL,
    -- The key that brought it.
    reporter  INTEGER NOT NULL
);
CREATE INDEX sighting_attribute ON sighting (attribute, date);
CREATE INDEX sighting_date ON sighting (date);
CREATE INDEX sighting_false ON sighting (attribute) WHERE type = 1;

CREATE TABLE tag (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT NOT NULL UNIQUE,
    colour TEXT NOT NULL
);

CREATE TABLE event_tag (
    id    INTEGER PRIMARY KEY,
    event INTEGER NOT NULL REFERENCES event ON DELETE CASCADE,
    tag   INTEGER NOT NULL REFERENCES tag,
    local INTEGER NOT NULL,
    UNIQUE (event, tag)
);
CREATE INDEX event_tag_tag ON event_tag (tag);

CREATE TABLE attribute_tag (
    id        INTEGER PRIMARY KEY,
    attribute INTEGER NOT NULL REFERENCES attribute ON DELETE CASCADE,
    tag       INTEGER NOT NULL REFERENCES tag,
    local     INTEGER NOT NULL,
    UNIQUE (attribute, tag)
);
CREATE INDEX attribute_tag_tag ON attribute_tag (tag);
