"""Which of several faces of a photograph is taken."""

PREFER = ("largest", "centre")
