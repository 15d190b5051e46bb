"""Everything that counts and refuses: the limits of ``[services.<name>.limits]``; docs/limits.md tells of each.

``windows`` are the rules, ``statements`` the same in SQL. ``claims`` builds what one send claims, ``refusals`` says which
limit was in the way, ``counting`` counts answers and gives back, ``trust`` knows contexts that were approved before.
"""
