"""Photographs to face crops by five landmarks: the form that recognition models are trained on."""
