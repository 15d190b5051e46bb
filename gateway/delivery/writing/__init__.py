"""Writing: what messages and replies say.

In reading order: ``template_language`` and ``templating`` (folders of templates, compiled), ``locales``, ``rendering`` (a
message's parts), ``filling`` (the same without a template engine, where the code stands as it is), ``reply_parts``,
``linting``.
"""
