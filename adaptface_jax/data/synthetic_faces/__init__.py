"""A parametric face renderer in NumPy: identity, pose, age and light of every image are known.

traits (who) -> head (3D surface) + skin (its colors) -> conditions (how the image is taken) -> render (pixels).
"""
