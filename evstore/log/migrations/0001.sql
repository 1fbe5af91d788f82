-- The log and the bodies. Everything else in this database can be rebuilt from them.

create table events (
    "offset"      integer primary key,        -- from 1, without gaps, in commit order
    entry         blob    not null,           -- 16 bytes
    at            integer not null,           -- µs since 1970 UTC, strictly increasing
    actor         text    not null,
    command       blob    not null,           -- 16 bytes, one per request
    type          text    not null,
    schema        integer not null,
    payload       blob,                       -- null once erased
    salt          blob,                       -- null once erased
    payload_hash  blob    not null,           -- sha256(salt || payload)
    hash          blob    not null            -- sha256(previous hash || envelope || payload_hash)
) strict;

create trigger events_are_facts_update before update on events
begin select raise(abort, 'events are facts: append a new one'); end;

create trigger events_are_facts_delete before delete on events
begin select raise(abort, 'events are facts: they are never deleted'); end;

-- The last event, so that a lost tail is noticed.
create table head (
    one           integer primary key check (one = 1),
    "offset"      integer not null,
    at            integer not null,
    hash          blob    not null
) strict;

insert into head values (1, 0, 0, zeroblob(32));

create table chunks (
    id            integer primary key,
    digest        blob    not null unique,    -- sha256 of the plain bytes
    size          integer not null,           -- of the plain bytes
    codec         integer not null,           -- 0 plain, 1 zstd
    data          blob    not null
) strict;

create table bodies (
    digest        blob    primary key,        -- sha256 of the whole
    size          integer not null,
    manifest      blob    not null            -- the ids of its chunks in order (log/bodies.py)
) strict, without rowid;

-- How far each projection has applied the log. (Other event stores call that a checkpoint.)
create table watermarks (
    projection    text    primary key,
    "offset"      integer not null
) strict, without rowid;

-- What has been done with this log and is no event (log/marks.py); a rebuild leaves it alone.
create table marks (
    name          text    primary key
) strict, without rowid;
