"""Channel adapters: one file speaks one provider's protocol.

``base`` is the port every adapter implements, ``kinds`` the address kinds they share, ``http`` the
HTTP client they share. An adapter imports those three leaves and its provider's library, never
``gateway``; the gateway loads it by the name in ``[channels.<name>] adapter = "…"``.
"""
