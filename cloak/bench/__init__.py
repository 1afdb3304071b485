"""The benchmark: how far a cloak reduces identity match, and what it costs in visibility."""
