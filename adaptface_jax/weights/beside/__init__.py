"""What each project writes beside its weights, and what of it changes the function that they compute."""
