"""From a folder of people to the commands that train a model on it."""
