"""Sends every event that Idem fires to an evbus host. Idem finds it by itself: see ``conf.py``."""
