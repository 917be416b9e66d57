"""A parametric face renderer in NumPy: identity, pose, age and light of every image are known.

traits (who) -> head (3-D surface) + skin (its colors) -> conditions (how the picture is taken) -> render (pixels).
"""
