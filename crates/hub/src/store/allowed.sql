-- Addresses and networks that no list names, whoever reports them.
CREATE TABLE allowed (
    net    TEXT    PRIMARY KEY,
    reason TEXT    NOT NULL,
    -- The key that said so, and when.
    key    INTEGER NOT NULL,
    since  INTEGER NOT NULL
) WITHOUT ROWID;
