-- The relay.

-- The keys that other hubs write with: what comes by them goes no further.
CREATE TABLE relay_key (
    key INTEGER PRIMARY KEY
);

-- What a relay has to tell on, in the order in which it came: attributes, and their sightings.
CREATE TABLE brought (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    attribute INTEGER NOT NULL,
    sighting  INTEGER
);
