"""Image labels computed from pixels: head pose, lighting and sharpness."""
