//! How far each log and each query of the journal has been dealt with.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{Store, StoreError, fault};
use crate::mark::{FileId, Mark, Progress};

pub(super) const SCHEMA: &str = "
    CREATE TABLE mark (
      path BLOB PRIMARY KEY, dev INTEGER NOT NULL, ino INTEGER NOT NULL,
      head BLOB NOT NULL, offset INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE cursor (query TEXT PRIMARY KEY, cursor TEXT NOT NULL) STRICT;";

impl Store {
    /// How far each log has been dealt with.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut rows = self.db.prepare("SELECT path, dev, ino, head, offset FROM mark")?;
            let marks = rows.query_map([], |row| {
                Ok(Mark {
                    path: OsStr::from_bytes(&row.get::<_, Vec<u8>>(0)?).into(),
                    file: FileId {
                        dev: row.get::<_, i64>(1)?.cast_unsigned(),
                        ino: row.get::<_, i64>(2)?.cast_unsigned(),
                    },
                    head: row.get(3)?,
                    offset: row.get::<_, i64>(4)?.cast_unsigned(),
                })
            })?;
            marks.collect()
        };
        read().map_err(|error| fault(&self.path, error))
    }

    /// The cursor of the last entry of the journal that was dealt with for this query.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn cursor(&self, query: &str) -> Result<Option<String>, StoreError> {
        self.db
            .query_row("SELECT cursor FROM cursor WHERE query = ?", [query], |row| row.get(0))
            .optional()
            .map_err(|error| fault(&self.path, error))
    }
}

pub(super) fn write(tx: &Transaction<'_>, progress: &Progress) -> rusqlite::Result<()> {
    match progress {
        Progress::File(mark) => {
            tx.prepare_cached("INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?)")?.execute(
                params![
                    mark.path.as_os_str().as_bytes(),
                    mark.file.dev.cast_signed(),
                    mark.file.ino.cast_signed(),
                    mark.head,
                    mark.offset.cast_signed(),
                ],
            )?;
        }
        Progress::Journal { query, cursor } => {
            tx.prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?, ?)")?
                .execute([query, cursor])?;
        }
    }
    Ok(())
}
