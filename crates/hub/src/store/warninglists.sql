-- Lists of what is no indicator: resolvers, content networks, the organisation's own networks.
CREATE TABLE warninglist (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    -- cidr, string or hostname
    type        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    enabled     INTEGER NOT NULL,
    category    TEXT    NOT NULL,
    -- The types of attributes that it is about, as MISP writes them.
    matching    TEXT    NOT NULL
);

CREATE TABLE warninglist_entry (
    id    INTEGER PRIMARY KEY,
    list  INTEGER NOT NULL REFERENCES warninglist ON DELETE CASCADE,
    -- A network is written with its length, and with nothing beyond it.
    value TEXT    NOT NULL,
    UNIQUE (value, list)
);
CREATE INDEX warninglist_entry_list ON warninglist_entry (list);
