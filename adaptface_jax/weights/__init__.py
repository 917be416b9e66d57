"""Published weights in: files -> name tables -> our parameter tree, and the tree back to names."""
