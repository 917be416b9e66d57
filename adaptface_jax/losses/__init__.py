# SPDX-License-Identifier: Apache-2.0
"""From embeddings to a loss over the training identities."""
