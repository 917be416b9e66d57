"""Photographs to aligned face crops, by five landmarks: the input that recognition models are trained on."""
