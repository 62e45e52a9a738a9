CREATE TABLE IF NOT EXISTS pull_source (
    name       TEXT PRIMARY KEY,
    cursor     INTEGER,           -- of a MISP: the time of the last change
    reconciled INTEGER,           -- of a MISP: when all of it was compared
    key        TEXT,              -- of a hub: whom we believe,
    sequence   INTEGER NOT NULL DEFAULT 0, -- and where we are
    head       TEXT,
    pulled     INTEGER,           -- when it last answered
    list       TEXT NOT NULL,     -- names our list of it, whatever becomes of this file
    version    INTEGER NOT NULL DEFAULT 0,
    waiting    TEXT               -- why the list stands still until somebody accepts
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS indicator (
    source       TEXT NOT NULL,
    id           TEXT NOT NULL,
    net          TEXT NOT NULL,
    kind         TEXT NOT NULL,
    organisation TEXT NOT NULL,
    to_ids       INTEGER NOT NULL,
    first        INTEGER NOT NULL,
    last         INTEGER NOT NULL,
    tags         TEXT NOT NULL,   -- JSON
    PRIMARY KEY (source, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS indicator_net ON indicator (source, net);

-- What is new, until old logs were searched for it.
CREATE TABLE IF NOT EXISTS unsought (
    net TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What sightings say of a MISP's values.
CREATE TABLE IF NOT EXISTS pull_sighting (
    source TEXT NOT NULL,
    net    TEXT NOT NULL,
    last   INTEGER NOT NULL,
    PRIMARY KEY (source, net)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pull_denial (
    source TEXT NOT NULL,
    net    TEXT NOT NULL,
    who    TEXT NOT NULL,
    PRIMARY KEY (source, net, who)
) STRICT, WITHOUT ROWID;

-- The lists as guard is to have them.
CREATE TABLE IF NOT EXISTS blocked (
    source TEXT NOT NULL,
    net    TEXT NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (source, net)
) STRICT, WITHOUT ROWID;

-- What changed in them, so that it can be taken back.
CREATE TABLE IF NOT EXISTS batch (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    source    TEXT NOT NULL,
    began     INTEGER NOT NULL,
    n_added   INTEGER NOT NULL DEFAULT 0,
    n_removed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS batch_change (
    batch INTEGER NOT NULL REFERENCES batch (id) ON DELETE CASCADE,
    net   TEXT NOT NULL,
    was   INTEGER,                -- until when it was blocked before, if it was
    PRIMARY KEY (batch, net)
) STRICT, WITHOUT ROWID;
