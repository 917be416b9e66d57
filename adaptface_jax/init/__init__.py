# SPDX-License-Identifier: Apache-2.0
"""From a folder of people to the commands that train a model on it."""
