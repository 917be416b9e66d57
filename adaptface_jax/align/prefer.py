"""Which of several faces of a photograph is taken."""

PREFER = ("largest", "center")


def today(word: str) -> str:
    """`center` where a command line, or the journal of a folder, has the spelling of version 0.1.0."""
    return "center" if word == "centre" else word
