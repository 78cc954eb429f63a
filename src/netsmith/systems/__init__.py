"""Published systems, each a short composition of the rooms below: ``netsmith.systems.NAME.NAME``."""
