CREATE TABLE place (
    log    TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE destinations (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE, -- the uuid of url and event
    spec         TEXT NOT NULL,        -- JSON, as last configured
    n_failed     INTEGER NOT NULL DEFAULT 0,
    next_try     INTEGER,              -- epoch milliseconds; every other time is in seconds
    why          TEXT,
    last_success INTEGER,
    day          TEXT NOT NULL DEFAULT '', -- of the daily budget (UTC)
    n_told       INTEGER NOT NULL DEFAULT 0 -- offenders on that day
) STRICT;

CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- order of acceptance, never used again
    destination INTEGER NOT NULL REFERENCES destinations (id),
    kind        INTEGER NOT NULL DEFAULT 0, -- 0 seen, 1 a false positive, 2 the ban has ended
    value       TEXT NOT NULL,
    jail        TEXT NOT NULL,
    time        INTEGER NOT NULL,
    until       INTEGER,                    -- when the ban ends
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    n_failures  INTEGER NOT NULL,
    sightings   INTEGER NOT NULL,           -- 0 never, 1 where the value is known, 2 nothing else
    terms       INTEGER NOT NULL DEFAULT 0, -- 0 in full, 1 without to_ids, 2 for a short while
    historical  INTEGER NOT NULL DEFAULT 0, -- of old logs: nobody was banned
    matches     TEXT,                       -- only where the comment asks for lines of the log
    accepted    INTEGER NOT NULL,
    n_tried     INTEGER NOT NULL DEFAULT 0,
    next_try    INTEGER NOT NULL DEFAULT 0, -- epoch milliseconds
    state       INTEGER NOT NULL DEFAULT 0, -- 0 waits, 1 refused, 2 waits for `outbox approve`
    why         TEXT
) STRICT;

CREATE INDEX outbox_due ON outbox (destination, state, id);

CREATE TABLE expirations ( -- bans that end, where MISP is told of it
    destination INTEGER NOT NULL REFERENCES destinations (id),
    value       TEXT NOT NULL,
    jail        TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (destination, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX expirations_due ON expirations (at);

CREATE TABLE witnesses ( -- hosts that banned a value, where more than one must have
    value TEXT NOT NULL,
    host  TEXT NOT NULL,
    time  INTEGER NOT NULL,
    PRIMARY KEY (value, host)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id            INTEGER PRIMARY KEY,
    destination   INTEGER NOT NULL REFERENCES destinations (id),
    period        TEXT NOT NULL, -- empty for a fixed event
    number        INTEGER NOT NULL,
    uuid          TEXT NOT NULL,
    is_made       INTEGER NOT NULL DEFAULT 0,
    is_closed     INTEGER NOT NULL DEFAULT 0, -- deleted at MISP: never written to again
    n_attributes  INTEGER NOT NULL DEFAULT 0,
    publish_at    INTEGER, -- changed since it was published
    was_published INTEGER NOT NULL DEFAULT 0,
    UNIQUE (destination, period, number)
) STRICT;

CREATE INDEX events_changed ON events (destination, publish_at) WHERE publish_at IS NOT NULL;

CREATE TABLE attributes (
    value      TEXT NOT NULL,
    event      INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    uuid       TEXT NOT NULL,
    last_seen  INTEGER NOT NULL DEFAULT 0, -- as MISP was told
    is_deleted INTEGER NOT NULL DEFAULT 0, -- by an analyst: settled, never added again
    PRIMARY KEY (value, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE sighted (
    value TEXT NOT NULL,
    event INTEGER NOT NULL,
    jail  TEXT NOT NULL,
    time  INTEGER NOT NULL,
    PRIMARY KEY (value, event, jail)
) STRICT, WITHOUT ROWID;

CREATE TABLE taken (
    file TEXT PRIMARY KEY,
    why  TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE withheld (
    reason TEXT PRIMARY KEY,
    n      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE paused ( -- one row while an operator has paused all sharing
    since INTEGER NOT NULL
) STRICT;
