"""From embeddings to a loss over the training identities."""
