"""Benchmarks: what the gateway costs, each figure beside a yardstick measured in the same run.

``python -m benchmarks`` runs them all and writes docs/benchmarks.md. In reading order: ``figures`` (statistics),
``rounds`` (who is measured when), ``children`` (processes that always end), the programs of their own processes
(``bare_app``, ``bare_mail``, ``load``, ``sink``), ``served`` (the gateway as one more), the four measurements
(``accepts``, ``end_to_end``, ``idle``, ``claims``), ``machine`` and ``report``. They need Linux: CPU time and memory
are read from ``/proc``.
"""
