"""A page and a JSON interface for one run: two photographs compared, a photograph searched for. See `__main__`."""
