"""Published weights: files -> name tables -> our parameter tree, and the tree back to names."""
