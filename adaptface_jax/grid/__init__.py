"""Many runs of one recipe: every combination of some settings' values, one after the other or a device each."""
