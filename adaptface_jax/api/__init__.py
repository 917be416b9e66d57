# SPDX-License-Identifier: Apache-2.0
"""What a notebook or a service uses, and the commands too: open a model, embed, verify, search. See `adaptface_jax`."""
