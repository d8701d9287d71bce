-- A deleted record stays as a row without its document, so that a key that is
-- written again goes on with its versions and an old if_version cannot match.
CREATE TABLE records (
	collection  TEXT    NOT NULL,
	key         TEXT    NOT NULL,
	doc         TEXT    NOT NULL, -- canonical JSON
	version     INTEGER NOT NULL,
	deleted     INTEGER NOT NULL DEFAULT 0,
	source_task TEXT    NOT NULL, -- the inbox's task_id of the last change
	created_at  INTEGER NOT NULL, -- milliseconds since 1970
	updated_at  INTEGER NOT NULL,
	PRIMARY KEY (collection, key)
) STRICT;

-- One row for each message that changed, or was refused, something. Rows are
-- pruned in the order of their rowid, which is the order of their arrival.
CREATE TABLE inbox (
	task_id TEXT    NOT NULL PRIMARY KEY, -- JSON: [stream, source, message id]
	digest  BLOB    NOT NULL,             -- sha256 of the message's type and data
	status  TEXT    NOT NULL,             -- done, partial or refused
	result  TEXT    NOT NULL,             -- JSON, the answer to give again
	at      INTEGER NOT NULL
) STRICT;
