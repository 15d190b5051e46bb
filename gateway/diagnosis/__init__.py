"""The questions of ``otp-gateway doctor``: everything that can be asked without sending a message or changing a row.

In reading order: ``seen`` (what came of it), ``rounds`` (all questions at once, each with its time), then one module an
area: ``configuration``, ``stores`` (the database) with ``sqlite_store`` and ``postgresql_store``, ``keys``, ``domains``
(DNS) with ``mail_policies``; channels answer for themselves (``channels.base.Channel.examine``).
"""
