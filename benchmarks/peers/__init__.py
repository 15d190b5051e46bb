"""Other programs that send and check codes, and another queue, measured beside the gateway in the same run.

Each is installed by the command into an environment of its own, at exact versions whose content is known by its hash
(``package-lock.json``, ``requirements.txt``), set up as its documentation says, and left out by name where that cannot
be done. This file imports nothing: some programs here run in a peer's environment, which has nothing of ours.
"""
