"""Which of several faces in a photograph is cropped; LFW's rule is the center."""

PREFER = ("largest", "center")


def today(word: str) -> str:
    """`center` for the spelling of version 0.1.0 on a command line or in the journal of a folder."""
    return "center" if word == "centre" else word
