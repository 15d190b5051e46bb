"""Telling applications: what moved, signed after Standard Webhooks 1.0.0, sent until it was taken.

In reading order:

- ``outbox`` ``payloads``: what is told of a committed event, written in the same transaction
- ``rows``: the queue of webhooks, whose statuses nobody else writes
- ``endpoints``: the services' receivers, and which of them want no more
- ``signing`` ``schedule`` ``addresses`` ``pace``: pure functions of secrets, time, addresses and answers
- ``looking_up`` ``connecting``: one request to a receiver, to a checked address and nowhere else
- ``sending``: the lane, which takes what is due and settles it
"""
