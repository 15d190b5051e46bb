"""What is remembered: tables, the two engines behind one ``Database``, sealing, migrations."""
