"""From a row to a person: statuses, the queue, routing, retrying, rendering, dispatching."""
