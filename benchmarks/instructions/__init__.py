"""Instructions an accept, a send and a check cost: a count that the machine's other work does not change.

``python -m benchmarks.instructions`` (``make bench-check``) compares them with ``counts.json``. In reading order:
``path`` (the program that is counted), ``tools`` (who counts), ``counts`` (the file and what it is held against).
"""
