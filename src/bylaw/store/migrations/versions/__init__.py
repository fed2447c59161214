"""One file a revision. A released one is never edited; a change of the schema is a new one, named in `database.REVISIONS`."""
