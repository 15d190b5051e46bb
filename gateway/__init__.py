"""otp-gateway: an HTTP call becomes one row in a durable queue; a dispatcher walks it to the person or to its end.

In reading order:

- ``config`` ``errors`` ``phrases`` ``clock`` ``durable`` ``randomness`` ``rhythm`` ``signals`` ``value``: settings in, problems out, time and chance passed in
- ``storage``: tables, group commit on SQLite and PostgreSQL, sealing, what nodes share, wakes, migrations
- ``events``: the timeline, the log and its redaction, metrics
- ``delivery``: statuses and moves, the queue, routes, retries, templates, lanes and the dispatcher
- ``verification``: codes asked for, sent again, checked, ended
- ``conversation``: what people write to the bot
- ``webhooks``: telling applications what moved
- ``housekeeping``: ending what is overdue, deleting what is over
- ``diagnosis``: whether providers, database, DNS, clock and keys are as they should be
- ``api``: HTTP in and out
- ``sandbox``: local SMTP, Twilio and Bot API servers for the demo and the tests
- ``app``: the composition root; ``serving``: HTTP and signals; ``cli``: the command line
"""
