"""Authenticator apps: enrolled, checked (RFC 4226, RFC 6238), recovered from, and throttled by person.

In reading order: ``otp`` (pure: what a device shows), ``uri`` (what it is told by), ``view``, ``enrolling``, ``checking``
with ``throttling``, ``recovery``, ``statements`` (the SQL), ``parts`` (all of it put together).
"""
