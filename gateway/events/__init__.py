"""What happened: the timeline in the database, and the same lines in the log."""
