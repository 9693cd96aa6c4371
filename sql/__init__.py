"""Numbered files are applied once, in order; the others at every ``rowcast migrate``. The same everywhere."""
