"""From a folder of people to the commands that make a model of it."""
