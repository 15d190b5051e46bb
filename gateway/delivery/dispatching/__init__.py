"""Dispatching: this node takes messages from the queue and has their channels send them.

In reading order:

- ``dispatcher``: the loops; ``lane`` and ``rounds``: what waits for one channel, service by service
- ``triage``: may it be sent now? ``calling``: one call; ``outcome``: what came of it; ``settling``: what follows
- ``breaker``, ``pacing``, ``aside``: what holds a channel, or a recipient, back; ``outages``: telling of it
- ``throughput``, ``backlog``, ``expecting``: how long a fresh message would wait
- ``revising``: putting right what was sent
"""
