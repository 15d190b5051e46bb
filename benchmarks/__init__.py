"""Benchmarks: what the gateway costs, each figure beside a yardstick measured in the same run.

``python -m benchmarks`` runs them and writes docs/benchmarks.md. In reading order: ``figures`` (statistics), ``rounds``
(who is measured when), ``parts`` (what a measurement is), ``children`` (processes that always end), the programs of
their own processes (``bare_app``, ``bare_loop`` and what is one, ``load``, ``open_loop``, ``sink``), ``served`` (the gateway as one
more), the measurements, each a module with a ``PART`` (``accepts``, ``offered``, ``end_to_end`` by ``carrying``, ``idle``, ``claims`` and
what else ``__main__`` lists), ``machine``, ``plots`` and ``report``. ``instructions`` counts instead of measuring time.
They need Linux: CPU time and memory are read from ``/proc``.
"""
