"""What can be wrong with a training set-up or with a run, found before or after the hours are spent."""
