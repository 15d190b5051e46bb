"""What several nodes do on one PostgreSQL: throughput, duplicates, long queues, and other queues beside ours.

``python -m benchmarks scale`` runs it all and writes docs/scaling.md. In reading order: ``filling`` (messages that
wait), ``server`` (databases and what PostgreSQL spent), ``sink`` (mail, told apart by its Message-ID), ``nodes`` and
``depth`` (the measurements), ``peers`` with the three programs ``run_gateway``, ``run_procrastinate`` and
``run_pgqueuer``, ``arithmetic`` (what follows), ``document`` and ``command``.
"""
