"""A page and a JSON interface for one run: compare two photographs, search for a photograph. See `__main__`."""
