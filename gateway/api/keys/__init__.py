"""API keys: made, shown once, judged, and refused without a word on why.

In reading order: ``text`` (what a key looks like), ``scopes`` and ``networks`` (what it may do, and from where), ``view``,
``refusals``, ``statements`` (the SQL), ``keys`` (all of it put together).
"""
