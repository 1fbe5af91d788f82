-- What lies in the served folder, as evstore last wrote it there or read it (evstore/worktree/index.py).
-- Like marks it can't be derived from the log; if it is lost, everything in the folder is read again.

create table folder_known (
    entry         blob    primary key,
    size          integer not null,           -- bytes; 0 for a directory
    mtime         integer not null,           -- ns since 1970; 0 for a directory, which is told by its inode
    inode         integer not null,
    ctime         integer not null,           -- ns since 1970, as the system sets it
    digest        blob                        -- of what lies there; null for a directory or an empty file
) strict, without rowid;

create index folder_known_by_inode on folder_known (inode);

create table folder (
    one           integer primary key check (one = 1),
    mark          text    not null,           -- the folder's own, in its .evstore/folder
    "offset"      integer not null            -- up to here the log has been written to it
) strict;
